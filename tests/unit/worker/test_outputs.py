"""What is cut from a message that its topic does not take."""

from __future__ import annotations

from streams.worker.outputs import Message


def test_the_value_is_cut_first_and_then_the_records_own_headers_are_left_out():
    message = Message("t", b"k", b"abcde", None, {"rampwatch-reason": b"late"}, [("trace", b"1"), ("trace", None)])
    assert message.all_headers == [("rampwatch-reason", b"late"), ("trace", b"1"), ("trace", None)]
    values = []
    while message.value:
        message = message.first_half()
        values.append(message.value)
    assert values == [b"ab", b"a", b""]
    assert message.headers["rampwatch-truncated"] == b"the first 0 bytes; the topic takes no more"
    bare = message.first_half()
    assert bare.all_headers == [
        ("rampwatch-reason", b"late"),
        ("rampwatch-truncated", b"the first 0 bytes; the topic takes no more"),
        ("rampwatch-omitted", b"the key and all headers; the topic takes no more"),
    ]
