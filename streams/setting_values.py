"""The values of settings: parsed from text, described in words, and checked.

The checks are those that types cannot express: hosts, brokers, and characters that are not text.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

from streams.secret import Secret

A_DATE: Final = "a date like 2026-06-05"
BROKERS: Final = "host:port, or several separated by commas, with ports from 1 to 65535; IPv6 as [::1]:9092"
HOST: Final = "a host name or an IP address"

_UNUSABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNUSABLE_IN_SECRET: Final = re.compile(r"[\x00\ud800-\udfff]")
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_HOST_CHARACTERS_MAX: Final = 253


def parse(text: str, annotation: Any) -> object:  # noqa: ANN401 - a type annotation
    """Convert the text of a variable or option to a setting's type; commas separate a list's items.

    Raises ``ValueError``.
    """
    is_list = get_origin(_type_and_limits(annotation)[0]) is tuple
    raw: object = [part.strip() for part in text.split(",")] if is_list else text
    return msgspec.convert(raw, annotation, strict=False, dec_hook=to_secret)


def to_secret(kind: type, value: object) -> Secret:
    """Convert a string to a secret, for msgspec; never echoes a value, which may be the secret."""
    assert kind is Secret
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("Expected `str`")
    return Secret(value)


def expected(annotation: Any) -> str:  # noqa: ANN401 - a type annotation
    """Describe the values that a setting accepts."""
    kind, limits = _type_and_limits(annotation)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if date in (kind, *get_args(kind)):
        return A_DATE
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        words = {"ge": "from", "gt": "above", "le": "to" if "ge" in limits else "and at most"}
        bounds = [f"{word} {limits[name]}" for name, word in words.items() if name in limits]
        return " ".join(["a whole number" if kind is int else "a number", *bounds])
    if get_origin(kind) is tuple:
        return "a list of strings"
    at_most = f" of at most {limits['max_length']} characters" if "max_length" in limits else ""
    if "pattern" in limits:
        return f"a string{at_most} that matches {limits['pattern']}"
    return ("a non-empty string" if "min_length" in limits else "a string") + at_most


def text_of(value: object) -> str:
    """Return a value of a TOML file as it may have been written."""
    if isinstance(value, int) and abs(value) >= 2**64:
        return "(a number of more than 19 digits)"  # Python refuses to write one of more than 4300
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type_and_limits(annotation: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - a type annotation
    if get_origin(annotation) is not Annotated:
        return annotation, {}
    kind, *metas = get_args(annotation)
    names = ("ge", "gt", "le", "min_length", "max_length", "pattern")
    return kind, {name: getattr(meta, name) for meta in metas for name in names if getattr(meta, name) is not None}


def unusable_characters(value: object) -> bool:
    """Return whether a value contains what no file, protocol or terminal takes as text.

    That is control characters, and bytes of the environment that are not UTF-8. A password may
    contain any control character but NUL.
    """
    if isinstance(value, Secret):
        return bool(_UNUSABLE_IN_SECRET.search(value.reveal()))
    texts = value if isinstance(value, tuple) else (value,)
    return any(isinstance(text, str) and bool(_UNUSABLE.search(text)) for text in texts)


def is_broker_list(text: str) -> bool:
    """Return whether a text is one or more of ``host``, ``host:port``, ``[IPv6]:port``."""
    return all(map(_is_broker, text.split(",")))


def _is_broker(text: str) -> bool:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        return bool(bracket) and _is_ip(host, 6) and (not port or (port[0] == ":" and _is_port(port[1:])))
    if text.count(":") > 1:
        return _is_ip(text, 6)
    host, colon, port = text.partition(":")
    return is_host(host) and (not colon or _is_port(port))


def _is_port(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,5}", text)) and 1 <= int(text) <= 65_535


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Return whether a text is a host name in ASCII, or an IP address."""
    if _is_ip(text, 6):
        return True
    if re.fullmatch(r"[0-9.]+", text):
        return _is_ip(text, 4)
    labels = text.removesuffix(".").split(".")
    return len(text) <= _HOST_CHARACTERS_MAX and all(map(_LABEL.fullmatch, labels))
