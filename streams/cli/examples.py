"""The command ``examples``."""

from __future__ import annotations

import time
from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from streams.cli.options import Config, SiteName, settings_of, site_of
from streams.core.topics import INPUTS

InputTopic = Literal["shot-spotter-alerts", "stolen-vehicle-hits", "ramp-plate-reads", "incident-actions"]
assert get_args(InputTopic) == INPUTS


def examples(
    topic: Annotated[InputTopic | None, Parameter(help="print the example of this topic; default: all four")] = None,
    /,
    *,
    site: SiteName = None,
    config: Config = None,
) -> None:
    """Print example records that are accepted when they are sent now: key, tab, value.

    Without a topic, each line begins with its topic and a tab. Sent to one cluster, the four make
    an incident: use a prefix or a test cluster, so that no dispatcher sees it.
    """
    from streams.simulate.examples import examples as examples_of

    for example in examples_of(site_of(settings_of(config, site)), round(time.time() * 1000)):
        if topic is None:
            print(example.topic, example.key, example.value.decode(), sep="\t")
        elif topic == example.topic:
            print(example.key, example.value.decode(), sep="\t")
