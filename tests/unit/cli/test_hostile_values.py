"""Every setting with values that nobody should give: one sentence that names it, no traceback."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from streams.core.counters.rules import CounterRules
from streams.core.rules import JoinRules
from streams.given_settings import variable_of
from streams.resources.calibration import FILE
from streams.resources.paths import resource_path
from streams.settings import Settings
from tests.drivers.command import started
from tests.drivers.in_process import Run, assert_one_sentence

TABLES: dict[str, type[Any]] = {"": Settings, "join": JoinRules, "counters": CounterRules}
NAMES = [
    f"{table}.{field}" if table else field
    for table, kind in TABLES.items()
    for field in kind.__struct_fields__
    if field not in TABLES
]

# --- the environment

HOSTILE = {
    "nothing": "",
    "a space": " ",
    "much": "x" * 100_000,
    "many digits": "9" * 5_000,
    "negative": "-1",
    "beyond a float": "1e400",
    "NaN": "nan",
    "infinity": "inf",
    "no UTF-8": "\udcff",
    "markup": "[/bar]",
    "an emoji": ":car:",
    "a colour of the terminal": "\x1b[31mred",
    "two lines": "a\nb",
    "nested": "[" * 10_000,
    "a broken port": "host:22x",
}


def accepted(name: str, hostile: str) -> bool:
    """Whether a setting has a use for a text: a group may be named ``nan``, a plate ``[/bar]``."""
    if hostile in ("no UTF-8", "a colour of the terminal", "two lines"):
        return False
    if hostile == "much":
        return name == "join.placeholder_plates"
    allowed = {
        "prefix": {"nothing", "negative", "NaN", "infinity", "beyond a float"},
        "metrics_host": {"NaN", "infinity", "beyond a float"},
        "broker": {"NaN", "infinity", "beyond a float"},
        "group": set(HOSTILE) - {"nothing", "many digits", "nested"},
        "join.placeholder_plates": set(HOSTILE),
    }
    if hostile == "nothing" and name.startswith(("sasl_", "ssl_", "calibration")):
        return name not in ("sasl_mechanism",)
    return hostile in allowed.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_variable_is_refused_in_one_sentence_that_names_the_setting(name: str, run: Run) -> None:
    variable = variable_of(name)
    for hostile, text in HOSTILE.items():
        code, output, errors = run("check", "--json", **{variable: text})
        if accepted(name, hostile):
            assert code == 0, (hostile, errors)
            json.loads(output)
            continue
        assert code == 2, hostile
        assert output == ""
        assert_one_sentence(errors, variable, name)


# --- the TOML file

HOSTILE_TOML = {
    "an empty text": '""',
    "much text": '"' + "x" * 20_000 + '"',
    "a NUL": '"a\\u0000b"',
    "a colour of the terminal": '"\\u001b[31mred"',
    "a text for a number": '"three"',
    "a large number": "9" * 400,
    "a number of thousands of digits": "0x" + "f" * 20_000,
    "a negative number": "-1",
    "NaN": "nan",
    "infinity": "inf",
    "true": "true",
    "a list": "[]",
    "nested lists": "[" * 50 + "]" * 50,
    "a table": "{}",
    "a nested table": "{a = {a = {a = {}}}}",
    "a time": "1979-05-27T07:32:00Z",
    "a time of day": "07:32:00",
}


def accepted_in_file(name: str, hostile: str) -> bool:
    """Whether a setting has a use for a value of TOML."""
    allowed = {
        "prefix": {"an empty text", "a text for a number"},
        "calibration": {"an empty text"},
        "group": {"a text for a number"},
        "broker": {"a text for a number"},
        "metrics_host": {"a text for a number"},
        "republish": {"true"},
        "plain_records": {"true"},
        "wait": {"true"},
        "join.placeholder_plates": {"a list"},
    }
    if hostile == "an empty text" and name.startswith(("sasl_", "ssl_")):
        return name != "sasl_mechanism"
    return hostile in allowed.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_value_in_a_file_is_refused_in_one_sentence_that_names_the_setting(
    name: str, run: Run, tmp_path: Path
) -> None:
    table, _, field = name.rpartition(".")
    file = tmp_path / "settings.toml"
    for hostile, value in HOSTILE_TOML.items():
        file.write_text(f"[{table}]\n{field} = {value}\n" if table else f"{field} = {value}\n")
        code, output, errors = run("check", "--json", "--config", str(file))
        if accepted_in_file(name, hostile):
            assert code == 0, (hostile, errors)
            json.loads(output)
            continue
        assert code == 2, hostile
        assert output == ""
        assert_one_sentence(errors, name)


BROKEN_FILES = {
    "lists nested deep": b"group = " + b"[" * 30_000,
    "tables nested deep": b"group = " + b"{a = " * 6_000,
    "dotted keys nested deep": b"a" + b".a" * 16_000 + b" = 1",
    "dotted keys below a setting": b"join" + b".a" * 16_000 + b" = 1",
    "an integer of 5 000 digits": b"partitions = " + b"9" * 5_000,
    "invalid UTF-8": b'group = "\xff"',
    "a NUL": b'group = "\x00"',
    "a key that looks like a message": b'"a` - at `$.sasl_password" = 1',
    "a key of two lines": b'"a\\nb" = 1',
    "a key for the terminal": b'"\\u001b[31m" = 1',
    "an endless line": b"#" + b"x" * 100_000,
    "a table of no name": b'[""]\na = 1',
}


@pytest.mark.parametrize("broken", BROKEN_FILES)
def test_a_file_that_no_parser_expects_is_refused_in_one_sentence(broken: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(BROKEN_FILES[broken])
    began_s = time.monotonic()
    code, _, errors = run("check", "--config", str(file))
    assert code == 2
    assert_one_sentence(errors, f"{file}: ")
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize("option", ["--config", "--site"])
def test_a_file_of_a_gigabyte_is_refused_without_being_read(option: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "large.geojson"
    with file.open("wb") as large:
        large.truncate(2**40)  # sparse: it takes no space
    code, _, errors = run("check", option, str(file))
    assert code == 2
    assert_one_sentence(errors, "large.geojson: ")
    assert "larger than" in errors


@pytest.mark.parametrize("option", ["--config", "--site"])
@pytest.mark.parametrize("file", ["a/folder", "a/" + "x" * 5_000, "gone/at/all", "/dev/zero"])
def test_what_is_no_file_is_refused_in_one_sentence(option: str, file: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a/folder").mkdir(parents=True)
    code, _, errors = run("check", option, str(tmp_path / file))
    assert code == 2
    assert_one_sentence(errors, "cannot be read")


# --- site files and calibrations


def site_file(**changed: Any) -> str:
    ramp = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [-72.68, 41.76]},
        "properties": {"ramp_id": "off-48", "road": "I-84", "exit": "48", "direction": "off"},
    }
    return json.dumps({"type": "FeatureCollection", "time_zone": "America/New_York", "features": [ramp]} | changed)


HOSTILE_JSON = ["NaN", "1e999", "9" * 5_000, "-1", "[" * 900 + "]" * 900, "[" * 100_000, '"\\u0000"', '"\\ud800"']
HOSTILE_JSON += ["null", "true", "{}", '"\\u001b[31m"', '"' + "x" * 100_000 + '"', '{"a":' * 900 + "1" + "}" * 900]
PLACES = ['"FeatureCollection"', '"America/New_York"', '"Point"', '"Feature"', "-72.68", "41.76"]
PLACES += ['"off-48"', '"I-84"', '"48"', '"off"']
IGNORED = {'"Feature"'}


@pytest.mark.parametrize("place", PLACES)
def test_a_hostile_value_in_a_site_file_is_refused_in_one_sentence(place: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "site.geojson"
    for hostile in HOSTILE_JSON:
        file.write_text(site_file().replace(place, hostile, 1))
        code, _, errors = run("check", "--site", str(file))
        if code == 0:
            assert place in IGNORED or hostile in ('"\\u0000"', '"\\u001b[31m"') or hostile == "-1"
            continue
        assert code == 2
        assert_one_sentence(errors, "site.geojson")


@pytest.mark.parametrize("place", ["about", "site", "seeds", "incidents", "precision", "check", "calibration"])
def test_a_hostile_value_in_a_calibration_is_refused_in_one_sentence(place: str, run: Run, tmp_path: Path) -> None:
    content = json.loads(resource_path("calibration", FILE).read_bytes())
    for number, hostile in enumerate(HOSTILE_JSON):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(content | {place: "HERE"}).replace('"HERE"', hostile))
        code, _, errors = run("check", RAMPWATCH_CALIBRATION=str(file))
        if code == 0:
            unchecked = {("incidents", "-1"), ("precision", "{}"), ("calibration", "{}")}
            assert place in ("about", "site", "check") or (place, hostile) in unchecked, hostile[:9]
            assert hostile[0] in ('"', "-", "{")
            continue
        assert code == 2
        assert_one_sentence(errors, "the file that the setting calibration names")


# --- brokers


@pytest.mark.parametrize(
    "broker",
    [
        "host:22x",
        "a:b:c",
        "host:99999",
        "host:0",
        "host:-1",
        "host:",
        ":9092",
        "a,,b",
        ",",
        "a, b",
        " a",
        "bücher:9092",
        "a..b:9092",
        "-a:1",
        "x" * 64 + ":1",
        "PLAINTEXT://host:9092",
        "user:word@host:9092",
        "[::1",
        "[::1]9092",
        "[::1]:x",
        "[1.2.3.4]:1",
        "::1:zz",
        "999.1.1.1:9092",
        "1.2:9092",
        "host:٩٠٩٢",
        "@@",
        "host:9092/path",
    ],
)
def test_an_address_that_no_client_can_use_is_refused(broker: str, run: Run) -> None:
    code, _, errors = run("check", RAMPWATCH_BROKER=broker)
    assert code == 2
    assert_one_sentence(errors, "RAMPWATCH_BROKER")
    assert "expected host:port" in errors
    assert "word" not in errors


@pytest.mark.parametrize(
    "broker",
    ["host:9092", "host", "a:1,b:65535", "[::1]:9092", "::1", "127.0.0.1:9092", "kafka_1:9092", "a.b.example.:9092"],
)
def test_an_address_that_clients_can_use_is_accepted(broker: str, run: Run) -> None:
    code, _, errors = run("check", RAMPWATCH_BROKER=broker)
    assert (code, errors) == (0, "")


# --- output


def test_a_full_disk_under_the_output_is_reported_in_one_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("wb") as full, started("check", "--json", stdout=full) as process:
        assert process.stderr is not None
        errors = process.stderr.read()
    assert process.returncode == 1
    assert_one_sentence(errors, "standard output cannot be written (No space left on device)")
