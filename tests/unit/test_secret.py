"""Which texts a message must not contain."""

from __future__ import annotations

import pytest

from streams.secret import contains_secret, hide_secrets, may_hold_secret, printable, secrets_in, shortened


@pytest.mark.parametrize(
    "name",
    ["sasl_password", "sasl_username", "SASL_MECHANISM", "ssl_keyfile", "api_token", "Secret", "ssl_key_password"],
)
def test_a_setting_of_the_login_may_hold_a_password(name):
    assert may_hold_secret(name)


@pytest.mark.parametrize("name", ["broker", "partitions", "join.before_ms", "site", "prefix"])
def test_another_setting_does_not(name):
    assert not may_hold_secret(name)


def test_passwords_are_known_by_the_names_of_their_settings():
    given = {"RAMPWATCH_SASL_PASSWORD": "heron", "RAMPWATCH_SASL_PASSWORD_FILE": "/run/x", "RAMPWATCH_GROUP": "g"}
    assert secrets_in(given | {"RAMPWATCH_X_TOKEN": "", "RAMPWATCH_Y_SECRET": "ibis"}) == {"heron", "ibis"}


def test_a_known_password_is_replaced_and_a_short_one_only_where_it_is_the_whole_text():
    assert hide_secrets("x heron-2 y heron", ["heron", "heron-2"]) == "x (not shown) y (not shown)"
    assert hide_secrets("a b", ["a"]) == "a b"
    assert contains_secret("a", ["a"])
    assert contains_secret("user:heron@host", ["heron"])
    assert not contains_secret("a b", ["a"])


def test_a_text_for_a_message_is_short_and_has_no_control_characters():
    assert shortened("x" * 100) == "x" * 79 + "…"
    assert printable("a\nb\x1b[31m\udcff\x9b ü") == "a\\nb\\x1b[31m\\udcff\\x9b ü"
