"""Dead letters and forwards carry what is needed to send their records again as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.core.effects import DeadLetter, Forward
from streams.core.events import Headers, InvalidRecord, Record
from streams.core.topics import READS

ERROR = InvalidRecord("schema", "plate", "is missing")


def dead(key: bytes | None, headers: Headers, forwarded_from: str = "") -> DeadLetter:
    return DeadLetter(Record(READS, 3, 17, 5, b"value", forwarded_from, key, headers), ERROR)


def test_a_dead_letter_keeps_the_key_and_all_headers_in_order_with_repeated_names_and_nulls():
    headers = [("trace", b"\xff\x00"), ("trace", None), ("", b""), ("source", b"camera 5")]
    assert dead(b"\x00key\xff", headers).record_headers == [*headers, ("rampwatch-key", b"\x00key\xff")]


def test_an_empty_key_is_kept_and_no_key_is_no_header():
    assert dead(b"", []).record_headers == [("rampwatch-key", b"")]
    assert dead(None, []).record_headers == []


def test_reserved_names_are_ours():
    headers = [("rampwatch-reason", b"late"), ("rampwatch-forwarded", b"soon"), ("Rampwatch-x", b"theirs")]
    assert dead(None, headers).record_headers == [("Rampwatch-x", b"theirs")]
    assert "rampwatch-forwarded" not in dead(None, headers).headers
    assert dead(None, headers, "1:2").headers["rampwatch-forwarded"] == "1:2"


def test_what_is_left_out_is_named():
    many = [(f"h{n}", b"") for n in range(70)]
    *kept, key, omitted = dead(b"key", many).record_headers
    assert (kept, key) == (many[:64], ("rampwatch-key", b"key"))
    assert omitted == ("rampwatch-omitted", b"6 of 70 headers")
    assert dead(b"k" * 40_000, [("large", b"x" * 40_000), ("small", b"")]).record_headers == [
        ("small", b""),
        ("rampwatch-omitted", b"the key and 1 of 2 headers"),
    ]


def test_a_name_that_cannot_be_encoded_is_left_out():
    spoilt = ("caf\udce9", b"latin-1")
    assert dead(None, [spoilt]).record_headers == [("rampwatch-omitted", b"1 of 1 headers")]
    assert Forward(Record(READS, 0, 0, 0, b"", "", None, [spoilt]), 1, "KEY").record_headers == []


@given(st.none() | st.binary(max_size=50_000), st.lists(st.tuples(st.text(), st.binary(max_size=20_000)), max_size=90))
def test_what_a_dead_letter_adds_is_bounded(key, headers):
    size = sum(len(name.encode()) + len(value or b"") for name, value in dead(key, headers).record_headers)
    assert size <= 33 * 1024


def test_a_forwarded_record_keeps_all_headers_but_those_that_forwarding_sets():
    headers = [("trace", b"1"), ("rampwatch-stamp-ms", b"5"), ("rampwatch-forwarded", b"x"), ("trace", b"2")]
    record = Record(READS, 0, 0, 0, b"", "", b"wrong", headers)
    assert Forward(record, 1, "KEY").record_headers == [("trace", b"1"), ("trace", b"2")]
