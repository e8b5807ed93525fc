"""Record batches made by hand, as no honest producer sends them, and sent as they are."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Sequence

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

HEADER_BYTES = 61
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4

Headers = Sequence[tuple[bytes, bytes | None]]


def varint(number: int) -> bytes:
    """A zigzag varint."""
    raw, out = (number << 1) ^ (number >> 63), bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes([*out, raw])


def field(value: bytes | None) -> bytes:
    """A field with its length before it."""
    return varint(-1) if value is None else varint(len(value)) + value


def record(delta: int, value: bytes | None, headers: Headers = (), key: bytes | None = None) -> bytes:
    """A record of a batch; ``delta``: its offset less the batch's."""
    body = b"\x00" + varint(0) + varint(delta) + field(key) + field(value) + varint(len(headers))
    body += b"".join(field(name) + field(text) for name, text in headers)
    return varint(len(body)) + body


def batch(
    records: Iterable[bytes], base: int = 0, stamp_ms: int = 1_000, codec: int = 0, packed: bytes | None = None
) -> bytes:
    """A batch with a right checksum; ``packed``: the records as ``codec`` compresses them."""
    records = list(records)
    body = b"".join(records) if packed is None else packed
    head = struct.pack(">hiqqqhii", codec, len(records) - 1, stamp_ms, stamp_ms, -1, -1, -1, len(records)) + body
    crc = struct.pack(">I", calc_crc32c(head))
    return struct.pack(">qiib", base, len(head) + 9, 0, 2) + crc + head


def with_checksum(raw: bytes) -> bytes:
    """The batch with the checksum that fits its bytes."""
    return raw[:17] + struct.pack(">I", calc_crc32c(raw[21:])) + raw[21:]


def built(values: Sequence[bytes | None], codec: int, base: int = 0) -> bytes:
    """A batch as aiokafka's producer builds it."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 2**30)
    for n, value in enumerate(values):
        builder.append(n, 1_000 + n, b"k", value, [("name", b"text")] if n % 3 == 0 else [])
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def send(address: str, topic: str, partition: int, raw: bytes) -> int:
    """Send a batch as it is and return its first offset; raises what the broker answers."""
    return asyncio.run(_send(address, topic, partition, raw))


async def _send(address: str, topic: str, partition: int, raw: bytes) -> int:
    client = AIOKafkaClient(bootstrap_servers=address)
    await client.bootstrap()
    try:
        await client.add_topic(topic)
        await client._maybe_wait_metadata()
        node = None
        while node in (None, -1):
            await client.force_metadata_update()
            node = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=30_000, topics=[(topic, [(partition, raw)])]
        )
        response = await client.send(node, request)
    finally:
        await client.close()
    ((_, ((_, code, offset, *_),)),) = response.topics
    if code:
        raise for_code(code)
    return int(offset)
