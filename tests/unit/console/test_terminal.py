"""Every code that an incident can carry has a wording for people."""

from __future__ import annotations

from typing import get_args

from streams.console import terminal
from streams.core.events import ShotAlert, WarningCode


def test_every_warning_has_a_wording():
    missing = set(get_args(WarningCode)) - terminal._WARNING.keys()
    assert not missing, f"streams/console/terminal.py, _WARNING: no wording for {sorted(missing)}"


def test_every_kind_of_shot_has_a_wording():
    kinds = next(kind for name, kind in ShotAlert.__annotations__.items() if name == "kind")
    missing = {word.strip(" \"'") for word in kinds.removeprefix("Literal[").removesuffix("]").split(",")}
    missing -= terminal._KIND.keys()
    assert not missing, f"streams/console/terminal.py, _KIND: no wording for {sorted(missing)}"
