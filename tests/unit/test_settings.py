"""Settings: the environment wins, and what nobody knows or what does not fit is refused in a sentence."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest

from streams.core.counters.rules import CounterRules
from streams.core.rules import JoinRules
from streams.settings import Settings, SettingsError, as_environment, read_settings


def written(folder: Path, text: str) -> Path:
    file = folder / "rampwatch.toml"
    file.write_text(text, encoding="utf-8")
    return file


def complaint(environment: dict[str, str], file: Path | None = None) -> str:
    with pytest.raises(SettingsError) as refused:
        read_settings(environment, file)
    return str(refused.value)


def test_without_anything_set_the_defaults_hold():
    assert read_settings({}) == Settings()
    assert read_settings({"PATH": "/bin", "rampwatch_group": "small letters are somebody else's"}) == Settings()


def test_the_defaults_of_the_join_are_those_of_the_contract():
    minute, hour, day = 60_000, 3_600_000, 86_400_000
    plain = msgspec.structs.asdict(JoinRules())
    assert len(plain.pop("placeholder_plates")) == 10
    assert plain == {
        "before_ms": 45 * minute,
        "after_ms": 30 * minute,
        "max_distance_m": 8_000,
        "max_speed_mps": 45,
        "reach_slack_m": 150,
        "min_confidence": 0.6,
        "max_lookalikes": 1,
        "unknown_theft_lookback_ms": 12 * hour,
        "hit_ttl_ms": 30 * day,
        "read_retention_ms": 24 * hour,
        "incident_retention_ms": 7 * day,
        "shot_memory_ms": 90 * day,
        "max_future_skew_ms": 2 * minute,
        "stamp_slack_ms": minute,
        "max_hits_per_plate": 32,
        "max_shots": 100_000,
    }


def test_a_file_sets_both_kinds_and_the_environment_wins(tmp_path):
    file = written(tmp_path, 'group = "a"\nprefix = "p-"\n[join]\nbefore_ms = 1\nafter_ms = 2\n')
    read = read_settings({"RAMPWATCH_GROUP": "b", "RAMPWATCH_JOIN_BEFORE_MS": "3"}, file)
    assert (read.group, read.prefix, read.join.before_ms, read.join.after_ms) == ("b", "p-", 3, 2)


def test_a_list_is_separated_by_commas():
    read = read_settings({"RAMPWATCH_JOIN_PLACEHOLDER_PLATES": "NO READ, none"})
    assert read.join.placeholder_plates == ("NO READ", "none")


def test_a_whole_number_will_do_for_a_share(tmp_path):
    assert read_settings({"RAMPWATCH_JOIN_MIN_CONFIDENCE": "1"}).join.min_confidence == 1.0
    assert read_settings({}, written(tmp_path, "[join]\nmin_confidence = 1\n")).join.min_confidence == 1.0


TABLES = {"": Settings(), "join": JoinRules(), "counters": CounterRules()}


@pytest.mark.parametrize(
    ("table", "name"),
    [(table, name) for table, rules in TABLES.items() for name in rules.__struct_fields__ if name not in TABLES],
)
def test_every_setting_can_be_given_in_the_environment(table, name):
    default = getattr(TABLES[table], name)
    text = ",".join(default) if isinstance(default, tuple) else "null" if default is None else str(default)
    variable = "_".join(filter(None, ["RAMPWATCH", table, name])).upper()
    assert read_settings({variable: text}) == Settings()


def test_a_date_is_written_as_such_in_a_file_and_in_the_environment(tmp_path):
    file = written(tmp_path, "[counters]\nshots_since = 2026-06-05\nlinked_incidents_since = 2026-06-06\n")
    read = read_settings({"RAMPWATCH_COUNTERS_LINKED_INCIDENTS_SINCE": "2026-06-07"}, file).counters
    assert read.counted_since("shots") == date(2026, 6, 5)
    assert read.counted_since("linked_incidents") == date(2026, 6, 7)
    assert read.counted_since("stolen_vehicle_hits") is None


def test_another_process_is_given_the_same_settings():
    rules = CounterRules(shots_since=date(2026, 6, 5), rise=1.5)
    settings = Settings(group="g", join=JoinRules(before_ms=1), counters=rules)
    assert read_settings(as_environment(settings)) == settings


@pytest.mark.parametrize("name", ["RAMPWATCH_GRUOP", "RAMPWATCH_JOIN", "RAMPWATCH_JOIN_BEFORE", "RAMPWATCH_"])
def test_a_variable_that_nobody_knows_is_named_with_what_there_is(name):
    told = complaint({name: "x"})
    assert told.startswith(f"{name}: no such setting; unset it, or use one of ")
    assert "join" not in told.removeprefix(name).split("one of ")[1].split(", ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RAMPWATCH_PARTITIONS", "0"),
        ("RAMPWATCH_PARTITIONS", "twelve"),
        ("RAMPWATCH_PARTITIONS", "1.5"),
        ("RAMPWATCH_PREFIX", "a b"),
        ("RAMPWATCH_BROKER", ""),
        ("RAMPWATCH_JOIN_MIN_CONFIDENCE", "1.01"),
        ("RAMPWATCH_JOIN_MIN_CONFIDENCE", "nan"),
        ("RAMPWATCH_JOIN_BEFORE_MS", "-1"),
        ("RAMPWATCH_JOIN_BEFORE_MS", ""),
        ("RAMPWATCH_JOIN_MAX_HITS_PER_PLATE", "0"),
        ("RAMPWATCH_COUNTERS_RISE", "1"),
        ("RAMPWATCH_COUNTERS_SHOTS_SINCE", "5 June"),
        ("RAMPWATCH_COUNTERS_GUARD_DAYS", "56"),
    ],
)
def test_a_variable_that_does_not_fit_is_named_with_its_value_and_the_remedy(name, text):
    told = complaint({name: text})
    assert told.startswith(f"{name}={text}: ")
    assert told.endswith("; give a value that fits")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("grup = 1\n", "grup"),
        ("[join]\nbefor_ms = 1\n", "befor_ms"),
        ("partitions = true\n", "partitions"),
        ("partitions = '3'\n", "partitions"),
        ("[join]\nbefore_ms = 1.5\n", "before_ms"),
        ("join = 3\n", r"[join] must be a table"),
        ("counters = 3\n", r"[counters] must be a table"),
        ("[join\n", "not TOML"),
    ],
)
def test_a_file_with_a_mistake_is_named_with_its_key_and_the_remedy(tmp_path, text, named):
    file = written(tmp_path, text)
    told = complaint({}, file)
    assert told.startswith(f"{file}: ")
    assert named in told
    assert "; " in told


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert complaint({}, tmp_path / "gone.toml").endswith("name a TOML file that exists")


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    file = tmp_path / "latin.toml"
    file.write_bytes(b'group = "\xe9"\n')
    assert "not TOML" in complaint({}, file)
