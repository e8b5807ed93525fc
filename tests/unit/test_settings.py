"""Settings: the environment overrides the file.

Unknown names and invalid values are rejected with a remedy.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest

from streams.core.counters.rules import CounterRules
from streams.core.rules import JoinRules
from streams.settings import Secret, Settings, SettingsError, as_environment, read_settings, warnings


def written(folder: Path, text: str) -> Path:
    file = folder / "rampwatch.toml"
    file.write_text(text, encoding="utf-8")
    return file


def error_message(environment: dict[str, str], file: Path | None = None) -> str:
    with pytest.raises(SettingsError) as raised:
        read_settings(environment, file)
    return str(raised.value)


def test_the_defaults_apply_when_nothing_is_set():
    assert read_settings({}) == Settings()
    assert read_settings({"PATH": "/bin", "rampwatch_group": "small letters are somebody else's"}) == Settings()


def test_the_join_defaults_match_the_contract():
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
        "max_reads_per_plate": 2_000,
        "max_read_bytes_kept": 2**30,
        "max_record_bytes": 65_536,
    }


def test_a_file_sets_settings_and_join_rules_and_the_environment_overrides_it(tmp_path):
    file = written(tmp_path, 'group = "a"\nprefix = "p-"\n[join]\nbefore_ms = 1\nafter_ms = 2\n')
    read = read_settings({"RAMPWATCH_GROUP": "b", "RAMPWATCH_JOIN_BEFORE_MS": "3"}, file)
    assert (read.group, read.prefix, read.join.before_ms, read.join.after_ms) == ("b", "p-", 3, 2)


def test_a_list_is_separated_by_commas():
    read = read_settings({"RAMPWATCH_JOIN_PLACEHOLDER_PLATES": "NO READ, none"})
    assert read.join.placeholder_plates == ("NO READ", "none")


def test_a_whole_number_is_accepted_for_a_share(tmp_path):
    assert read_settings({"RAMPWATCH_JOIN_MIN_CONFIDENCE": "1"}).join.min_confidence == 1.0
    assert read_settings({}, written(tmp_path, "[join]\nmin_confidence = 1\n")).join.min_confidence == 1.0


TABLES = {"": Settings(), "join": JoinRules(), "counters": CounterRules()}


@pytest.mark.parametrize(
    ("table", "name"),
    [(table, name) for table, rules in TABLES.items() for name in rules.__struct_fields__ if name not in TABLES],
)
def test_every_setting_can_be_set_in_the_environment(table, name):
    default = getattr(TABLES[table], name)
    text = ",".join(default) if isinstance(default, tuple) else "null" if default is None else str(default)
    variable = "_".join(filter(None, ["RAMPWATCH", table, name])).upper()
    assert read_settings({variable: text}) == Settings()


def test_a_date_can_be_set_in_a_file_and_in_the_environment(tmp_path):
    file = written(tmp_path, "[counters]\nshots_since = 2026-06-05\nlinked_incidents_since = 2026-06-06\n")
    read = read_settings({"RAMPWATCH_COUNTERS_LINKED_INCIDENTS_SINCE": "2026-06-07"}, file).counters
    assert read.counted_since("shots") == date(2026, 6, 5)
    assert read.counted_since("linked_incidents") == date(2026, 6, 7)
    assert read.counted_since("stolen_vehicle_hits") is None


@pytest.mark.parametrize("written_as", ['"5 June"', "20260605", "2026-06-05T00:00:00Z"])
def test_an_invalid_date_has_the_same_message_in_a_file_and_in_the_environment(tmp_path, written_as):
    file = written(tmp_path, f"[counters]\nshots_since = {written_as}\n")
    expected = ": expected a date like 2026-06-05"
    in_file = error_message({}, file)
    assert in_file.startswith(f"{file}: counters.shots_since = ")
    assert in_file.endswith(expected)
    assert (
        error_message({"RAMPWATCH_COUNTERS_SHOTS_SINCE": "5 June"})
        == f"RAMPWATCH_COUNTERS_SHOTS_SINCE=5 June{expected}"
    )


def test_settings_passed_to_another_process_are_unchanged():
    rules = CounterRules(shots_since=date(2026, 6, 5), rise=1.5)
    settings = Settings(group="g", join=JoinRules(before_ms=1), counters=rules)
    assert read_settings(as_environment(settings)) == settings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RAMPWATCH_GRUOP", "RAMPWATCH_GROUP"),
        ("RAMPWATCH_JOIN_BEFORE", "RAMPWATCH_JOIN_BEFORE_MS"),
        ("RAMPWATCH_SASL_PASSWROD", "RAMPWATCH_SASL_PASSWORD"),
        ("RAMPWATCH_PARTITION", "RAMPWATCH_PARTITIONS"),
    ],
)
def test_an_unknown_variable_is_reported_with_the_one_that_may_be_meant(name, meant):
    assert error_message({name: "x"}).startswith(f"{name}: no such setting; correct it ({meant}")
    assert error_message({name: "x"}).endswith("?) or unset it")


@pytest.mark.parametrize("name", ["RAMPWATCH_JOIN", "RAMPWATCH_", "RAMPWATCH_ÄÖÜ", "RAMPWATCH_" + "X" * 100_000])
def test_an_unknown_variable_like_no_other_is_reported_with_all_there_are(name):
    message = error_message({name: "x"})
    shown, _, names = message.partition(": no such setting; unset it, or use one of ")
    assert name.startswith(shown.removesuffix("…"))
    assert len(shown) <= 80
    assert {"RAMPWATCH_GROUP", "RAMPWATCH_JOIN_BEFORE_MS"} <= set(names.split(", "))
    assert "RAMPWATCH_JOIN" not in names.split(", ")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("RAMPWATCH_PARTITIONS", "0", "a whole number from 1 to 10000"),
        ("RAMPWATCH_PARTITIONS", "twelve", "a whole number from 1 to 10000"),
        ("RAMPWATCH_PARTITIONS", "1.5", "a whole number from 1 to 10000"),
        ("RAMPWATCH_PREFIX", "a b", "a string of at most 200 characters that matches ^[A-Za-z0-9._-]*$"),
        ("RAMPWATCH_BROKER", "", "a non-empty string"),
        ("RAMPWATCH_REPUBLISH", "maybe", "true or false"),
        ("RAMPWATCH_JOIN_MIN_CONFIDENCE", "1.01", "a number from 0 to 1"),
        ("RAMPWATCH_JOIN_MIN_CONFIDENCE", "nan", "a number from 0 to 1"),
        ("RAMPWATCH_JOIN_BEFORE_MS", "-1", "a whole number from 0 to 9007199254740992"),
        ("RAMPWATCH_JOIN_BEFORE_MS", "", "a whole number from 0 to 9007199254740992"),
        ("RAMPWATCH_JOIN_MAX_RECORD_BYTES", "1023", "a whole number from 1024 to 16777216"),
        ("RAMPWATCH_JOIN_MAX_HITS_PER_PLATE", "0", "a whole number from 1 to 9007199254740992"),
        ("RAMPWATCH_COUNTERS_RISE", "1", "a number above 1 and at most 10"),
        ("RAMPWATCH_COUNTERS_GUARD_DAYS", "56", "a whole number from 0 to 55"),
    ],
)
def test_an_invalid_variable_is_reported_with_its_value_and_what_was_expected(name, text, expected):
    assert error_message({name: text}) == f"{name}={text}: expected {expected}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grup = 1\n", "grup: no such setting; correct it (group?) or remove it"),
        ("[join]\nbefor_ms = 1\n", "join.befor_ms: no such setting; correct it (join.before_ms?) or remove it"),
        ("before_ms = 1\n", "before_ms: no such setting; correct it (join.before_ms?) or remove it"),
        ("partitions = true\n", "partitions = true: expected a whole number from 1 to 10000"),
        ("partitions = '3'\n", "partitions = 3: expected a whole number from 1 to 10000"),
        ("group = 3\n", "group = 3: expected a non-empty string of at most 255 characters"),
        ("sasl_username = 3\n", "sasl_username: expected a string"),
        ("[join]\nbefore_ms = 1.5\n", "join.before_ms = 1.5: expected a whole number from 0 to 9007199254740992"),
        ("[join]\nplaceholder_plates = [1]\n", "join.placeholder_plates: expected a list of strings"),
        ("join = 3\n", "[join] must be a table; write its keys below a line [join]"),
        ("counters = 3\n", "[counters] must be a table; write its keys below a line [counters]"),
    ],
)
def test_a_mistake_in_a_file_is_reported_with_its_key_and_the_remedy(tmp_path, text, message):
    file = written(tmp_path, text)
    assert error_message({}, file) == f"{file}: {message}"


def test_a_file_that_is_not_toml_is_reported(tmp_path):
    file = written(tmp_path, "[join\n")
    assert error_message({}, file).startswith(f"{file}: not valid TOML (")


def test_a_missing_file_is_reported(tmp_path):
    assert error_message({}, tmp_path / "gone.toml").endswith("name an existing TOML file")


def test_a_file_that_is_not_utf_8_is_reported(tmp_path):
    file = tmp_path / "latin.toml"
    file.write_bytes(b'group = "\xe9"\n')
    assert "not valid TOML" in error_message({}, file)


# ---------------------------------------------------------------------- authentication and secrets

HIDDEN = "Invented-Heron-3381"
USER = {
    "RAMPWATCH_SECURITY_PROTOCOL": "SASL_SSL",
    "RAMPWATCH_SASL_USERNAME": "rampwatch-worker",
    "RAMPWATCH_SASL_PASSWORD": HIDDEN,
}


def test_a_password_is_used_and_never_shown():
    read = read_settings(USER)
    assert read.sasl_password.reveal() == HIDDEN
    for shown in (repr(read), str(read), str(read.sasl_password), f"{read.sasl_password}", f"{read.sasl_password!r}"):
        assert shown
        assert HIDDEN not in shown


def test_secrets_with_the_same_text_are_equal():
    assert Secret(HIDDEN) == Secret(HIDDEN)
    assert len({Secret(HIDDEN), Secret(HIDDEN), Secret("other"), Secret()}) == 3
    assert Secret(HIDDEN) != HIDDEN
    assert not Secret()


def test_a_password_read_from_a_file_loses_its_trailing_line_end(tmp_path):
    file = tmp_path / "password"
    file.write_bytes(f" {HIDDEN} \r\n".encode())
    without = {name: text for name, text in USER.items() if name != "RAMPWATCH_SASL_PASSWORD"}
    read = read_settings(without | {"RAMPWATCH_SASL_PASSWORD_FILE": str(file)})
    assert read.sasl_password == Secret(f" {HIDDEN} ")


def test_another_process_gets_the_same_settings_but_no_password_read_from_a_file(tmp_path):
    file = tmp_path / "password"
    file.write_text(HIDDEN, encoding="utf-8")
    key = {
        "RAMPWATCH_SSL_CERTFILE": "c.pem",
        "RAMPWATCH_SSL_KEY_PASSWORD": "Invented-Ibis-9",
        "RAMPWATCH_JOIN_PLACEHOLDER_PLATES": "NONE,NO READ",
    }
    for given in (USER | key, USER | key | {"RAMPWATCH_SASL_PASSWORD": "", "RAMPWATCH_SASL_PASSWORD_FILE": str(file)}):
        read = read_settings(given)
        variables = as_environment(read)
        assert read_settings(variables) == read
        assert (HIDDEN in variables.values()) == (HIDDEN in given.values())


def test_a_toml_file_may_also_set_user_and_password(tmp_path):
    file = written(tmp_path, f'security_protocol = "SASL_SSL"\nsasl_username = "a"\nsasl_password = "{HIDDEN}"\n')
    assert read_settings({}, file).sasl_password.reveal() == HIDDEN
    assert read_settings({"RAMPWATCH_SASL_PASSWORD": "other"}, file).sasl_password.reveal() == "other"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"SASL_USERNAME": ""}, "security_protocol SASL_SSL needs a user; set RAMPWATCH_SASL_USERNAME"),
        ({"SASL_PASSWORD": ""}, "needs the user's password; set RAMPWATCH_SASL_PASSWORD_FILE to a file"),
        (
            {"SECURITY_PROTOCOL": "SSL"},
            "sasl_username is set, but security_protocol SSL ignores it; set RAMPWATCH_SECU",
        ),
        ({"SECURITY_PROTOCOL": "PLAINTEXT"}, "set RAMPWATCH_SECURITY_PROTOCOL to SASL_SSL, or unset sasl_username"),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SSL_CAFILE": "ca.pem"}, "to SSL or SASL_SSL, or unset ssl_cafile"),
        ({"SSL_KEYFILE": "k.pem"}, "a private key is set without its certificate; set RAMPWATCH_SSL_CERTFILE too"),
        ({"SSL_KEY_PASSWORD": HIDDEN}, "a private key is set without its certificate; set RAMPWATCH_SSL_CERTFILE too"),
        ({"SASL_PASSWORD_FILE": "file"}, "sasl_password and sasl_password_file are both set; unset one of them"),
        ({"SASL_PASSWORD": "", "SASL_PASSWORD_FILE": "gone"}, "RAMPWATCH_SASL_PASSWORD_FILE: cannot be read (No "),
        (
            {"SECURITY_PROTOCOL": "SASL_TLS"},
            "RAMPWATCH_SECURITY_PROTOCOL: expected one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
        ),
        ({"SASL_MECHANISM": "GSSAPI"}, "RAMPWATCH_SASL_MECHANISM: expected one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ({"JOIN_SHOT_MEMORY_MS": "1000"}, "join.shot_memory_ms 1000 is less than join.incident_retention_ms 604800000"),
        ({"SASL_PASSWROD": HIDDEN}, "RAMPWATCH_SASL_PASSWROD: no such setting; correct it (RAMPWATCH_SASL_PASSWORD"),
    ],
)
def test_an_invalid_combination_is_reported_with_the_remedy_and_without_the_password(change, expected):
    message = error_message(USER | {f"RAMPWATCH_{name}": text for name, text in change.items()})
    assert expected in message
    assert HIDDEN not in message


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "empty; write the password to it"), (b"\n", "empty"), (b"\xff" + HIDDEN.encode(), "not UTF-8")],
)
def test_a_file_without_a_usable_password_is_reported(tmp_path, content, problem):
    file = tmp_path / "password"
    file.write_bytes(content)
    message = error_message(USER | {"RAMPWATCH_SASL_PASSWORD": "", "RAMPWATCH_SASL_PASSWORD_FILE": str(file)})
    assert message.startswith(f"RAMPWATCH_SASL_PASSWORD_FILE={file}: {problem}")
    assert HIDDEN not in message


@pytest.mark.parametrize(
    "text",
    [
        f"sasl_password = {HIDDEN}\n",
        f"sasl_password = '{HIDDEN}\n",
        f"sasl_password = ['{HIDDEN}']\n",
        f"sasl_password = {{ text = '{HIDDEN}' }}\n",
        "sasl_password = 3381\n",
        f"[sasl]\npassword = '{HIDDEN}'\n",
    ],
)
def test_a_mistake_beside_a_password_is_reported_without_the_password(tmp_path, text):
    file = written(tmp_path, text)
    message = error_message({}, file)
    assert message.startswith(f"{file}: ")
    assert "sasl" in message or "not valid TOML" in message
    assert HIDDEN not in message
    assert "3381" not in message


def test_a_read_retention_shorter_than_the_window_is_allowed_with_a_warning():
    short = read_settings({"RAMPWATCH_JOIN_READ_RETENTION_MS": "180000"})
    (warning,) = warnings(short)
    assert warning.startswith("reads are retained for 180000 ms, less than join.before_ms 2700000: ")
    assert list(warnings(Settings())) == []
