"""What it costs to decode and validate a plate read, beside alternatives.

Run ``.venv/bin/python -m tests.bench.codec``. It prints reads per second, the median of five rounds
taken in turn, so that noise on the machine affects all alike. Alternatives that are not installed
are skipped with a note (``pip install pydantic mashumaro`` in a separate environment).
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import faust
import jsonschema_rs
import msgspec
import orjson

from streams.core.codec import decode
from streams.core.events import PlateRead
from streams.core.topics import READS
from streams.resources.paths import resource_path

READ = (
    b'{"read_id":"r-0123456789abcd","plate":"XQ12345","region":"US-CT","captured_at_ms":1780697413000,'
    b'"ramp_id":"I-84-E-48-on","camera_id":"I-84-E-48-on-1","confidence":0.97,"direction":"on"}'
)
NUMBER = 100_000
ROUNDS = 5


class FaustRead(faust.Record, validation=True):
    read_id: str
    plate: str
    captured_at_ms: int
    ramp_id: str
    camera_id: str
    confidence: float
    region: str | None = None
    direction: str | None = None
    make: str | None = None
    colour: str | None = None


def candidates() -> dict[str, Callable[[bytes], object]]:
    schema = jsonschema_rs.validator_for(
        orjson.loads(resource_path("schemas", "ramp-plate-reads.schema.json").read_bytes())
    )
    struct = msgspec.json.Decoder(PlateRead).decode

    def checked_by_schema(raw: bytes) -> object:
        value = orjson.loads(raw)
        schema.validate(value)
        return value

    decoders: dict[str, Callable[[bytes], object]] = {
        "rampwatch: msgspec Struct, UTF-8 and depth checked": lambda raw: decode(READS, raw),
        "msgspec Struct, limits checked": struct,
        "orjson.loads, nothing checked": orjson.loads,
        "orjson.loads + JSON Schema (jsonschema-rs)": checked_by_schema,
        "json.loads, nothing checked": json.loads,
        "orjson.loads + Faust Record with validation": lambda raw: FaustRead.from_data(orjson.loads(raw)),
    }
    try:
        from pydantic import create_model  # not among the requirements
    except ImportError:
        print("pydantic is not installed: skipped")
    else:
        fields = {"read_id": str, "plate": str, "captured_at_ms": int, "ramp_id": str, "camera_id": str}
        optional = dict.fromkeys(("region", "direction", "make", "colour"), (str | None, None))
        model = create_model("Read", confidence=(float, ...), **{k: (t, ...) for k, t in fields.items()}, **optional)
        decoders["pydantic model"] = model.model_validate_json
    return decoders


def rate_per_s(decoder: Callable[[bytes], object]) -> float:
    began_s = time.perf_counter()
    for _ in range(NUMBER):
        decoder(READ)
    return NUMBER / (time.perf_counter() - began_s)


def main() -> None:
    decoders = candidates()
    rates: dict[str, list[float]] = {name: [] for name in decoders}
    for _ in range(ROUNDS):
        for name, decoder in decoders.items():
            rates[name].append(rate_per_s(decoder))
    for name, rounds in sorted(rates.items(), key=lambda row: -statistics.median(row[1])):
        print(f"{statistics.median(rounds):12,.0f} /s  {name}")


if __name__ == "__main__":
    main()
