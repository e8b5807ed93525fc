"""A password given for the wrong setting, or where none is expected, is never echoed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from streams.core.counters.rules import CounterRules
from streams.core.rules import JoinRules
from streams.given_settings import variable_of
from streams.settings import Settings
from tests.drivers.in_process import Run, assert_one_sentence

NAMES = [name for name in Settings.__struct_fields__ if name not in ("join", "counters")]
NAMES += [f"join.{field.name}" for field in msgspec.structs.fields(JoinRules)]
NAMES += [f"counters.{field.name}" for field in msgspec.structs.fields(CounterRules)]
PASSWORD = "Invented-Heron-3381"
FOR_A_PASSWORD = ("sasl_password", "ssl_key_password")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("sasl_", "ssl_", "security_protocol"))])
def test_a_password_given_for_another_setting_of_the_login_is_not_echoed(name: str, run: Run) -> None:
    code, output, errors = run("check", **{variable_of(name): PASSWORD})
    assert code == 2
    assert_one_sentence(errors, variable_of(name), name)
    assert PASSWORD not in output + errors


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FOR_A_PASSWORD])
@pytest.mark.parametrize("known_from", ["a variable", "a file"])
def test_a_known_password_given_for_any_setting_is_not_echoed(
    name: str, known_from: str, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    known = {"RAMPWATCH_SASL_PASSWORD": PASSWORD, "RAMPWATCH_SECURITY_PROTOCOL": "SASL_SSL"}
    if known_from == "a file":
        known = {"RAMPWATCH_SASL_PASSWORD_FILE": str(file), "RAMPWATCH_SECURITY_PROTOCOL": "SASL_SSL"}
    _, output, errors = run("check", **(known | {variable_of(name): PASSWORD}))
    assert "Traceback" not in errors
    assert PASSWORD not in output + errors
    config = tmp_path / "settings.toml"
    table, _, field = name.rpartition(".")
    config.write_text((f"[{table}]\n" if table else "") + f"{field} = '{PASSWORD}'\n")
    _, output, errors = run("check", "--config", str(config), **(known | {variable_of("prefix"): "a/b"}))
    assert PASSWORD not in output + errors


@pytest.mark.parametrize(
    "line",
    [
        f"worker {PASSWORD}",
        f"worker --sasl-password {PASSWORD}",
        f"worker --sasl-password={PASSWORD}",
        f"worker -p{PASSWORD}",
        f"check --password {PASSWORD}",
        f"topics check {PASSWORD}",
    ],
)
def test_a_password_given_as_an_argument_is_not_echoed(line: str, run: Run) -> None:
    code, output, errors = run(*line.split())
    assert code == 2
    assert_one_sentence(errors, "nexpected argument", "nknown option")
    assert PASSWORD not in output + errors


@pytest.mark.parametrize("line", [f"check --site {PASSWORD}", f"demo --seed {PASSWORD}", PASSWORD])
def test_a_known_password_given_as_an_argument_is_not_echoed(line: str, run: Run) -> None:
    code, output, errors = run(*line.split(), RAMPWATCH_SASL_PASSWORD=PASSWORD, RAMPWATCH_SECURITY_PROTOCOL="SASL_SSL")
    assert code == 2
    assert PASSWORD not in output + errors


@pytest.mark.parametrize("variable", ["RAMPWATCH_PASSWORD", "RAMPWATCH_API_TOKEN", "RAMPWATCH_SASL_PASSWROD"])
def test_the_value_of_an_unknown_setting_is_not_echoed(variable: str, run: Run) -> None:
    code, output, errors = run("check", **{variable: PASSWORD})
    assert code == 2
    assert_one_sentence(errors, variable)
    assert PASSWORD not in output + errors
