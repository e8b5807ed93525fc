"""The partition of a key, by Kafka's default partitioner; a published contract (``schemas/``).

That is murmur2, Java's default. Other clients have other defaults, librdkafka CRC32: the table in
``schemas/README.md`` says which setting a producer needs. A record on the wrong partition is
forwarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from aiokafka.partitioner import murmur2

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

_POSITIVE: Final = 0x7FFFFFFF
_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_WORD_BYTES: Final = 4
_BULK_CHARACTERS_MAX: Final = 12
"""Longest key that is hashed in bulk: three words; plate keys have at most 10 characters."""
_BULK_KEYS_MIN: Final = 32
"""Fewest keys that justify numpy's overhead of about 30 µs a call."""


def partition_of(key: str, partitions: int) -> int:
    """Return the partition, from 0 to ``partitions`` - 1, of a key's UTF-8 bytes."""
    return cast(int, (murmur2(key.encode()) & _POSITIVE) % partitions)


def partitions_of(keys: Sequence[str], partitions: int) -> list[int]:
    """Return the partition of each key; short ASCII keys in bulk take a tenth of the time."""
    if len(keys) < _BULK_KEYS_MIN:
        return [partition_of(key, partitions) for key in keys]
    lengths = list(map(len, keys))
    if max(lengths) > _BULK_CHARACTERS_MAX or not "".join(keys).isascii():
        return [partition_of(key, partitions) for key in keys]
    import numpy  # takes a tenth of a second to import, so only if there is much to hash

    hashes = _murmur2(numpy.array(keys, dtype=f"S{_BULK_CHARACTERS_MAX}"), numpy.array(lengths, dtype=numpy.uint32))
    numbers: list[int] = ((hashes & numpy.uint32(_POSITIVE)) % numpy.uint32(partitions)).tolist()
    return numbers


def _murmur2(keys: NDArray[numpy.bytes_], lengths: NDArray[numpy.uint32]) -> NDArray[numpy.uint32]:
    """Hash all keys with Kafka's MurmurHash2 (``org.apache.kafka.common.utils.Utils.murmur2``)."""
    import numpy

    multiplier = numpy.uint32(_MULTIPLIER)
    words = keys.view("<u4").reshape(len(keys), -1)
    hashes: NDArray[numpy.uint32] = numpy.uint32(_SEED) ^ lengths
    for number in range(_BULK_CHARACTERS_MAX // _WORD_BYTES):
        word, begin = words[:, number], _WORD_BYTES * number
        mixed = word * multiplier
        mixed ^= mixed >> numpy.uint32(24)
        full_word = (hashes * multiplier) ^ (mixed * multiplier)
        last_bytes = (hashes ^ word) * multiplier  # of one to three bytes; the array pads them with zeros
        is_full = lengths >= begin + _WORD_BYTES
        hashes = numpy.where(is_full, full_word, numpy.where(lengths > begin, last_bytes, hashes))
    hashes = (hashes ^ (hashes >> numpy.uint32(13))) * multiplier
    return hashes ^ (hashes >> numpy.uint32(15))
