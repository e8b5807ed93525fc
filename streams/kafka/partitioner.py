"""Which partition a key belongs to: Kafka's default partitioner, as a published contract (``schemas/``)."""

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
_LONGEST: Final = 12
"""Characters of a key that is hashed in bulk: plate keys have at most 10, and words have 4."""
_FEWEST: Final = 32
"""Keys that are worth numpy's overhead of some 30 µs a call."""


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a record's key, of its UTF-8 bytes, among ``partitions``."""
    return cast(int, (murmur2(key.encode()) & _POSITIVE) % partitions)


def partitions_of(keys: Sequence[str], partitions: int) -> list[int]:
    """Return the partition of each key; many short ASCII keys at a time, as plate keys are, cost a tenth of one."""
    if len(keys) < _FEWEST:
        return [partition_of(key, partitions) for key in keys]
    lengths = list(map(len, keys))
    if max(lengths) > _LONGEST or not "".join(keys).isascii():
        return [partition_of(key, partitions) for key in keys]
    import numpy  # takes a tenth of a second to import: only where there is much to hash

    hashes = _murmur2(numpy.array(keys, dtype=f"S{_LONGEST}"), numpy.array(lengths, dtype=numpy.uint32))
    numbers: list[int] = ((hashes & numpy.uint32(_POSITIVE)) % numpy.uint32(partitions)).tolist()
    return numbers


def _murmur2(keys: NDArray[numpy.bytes_], lengths: NDArray[numpy.uint32]) -> NDArray[numpy.uint32]:
    """Kafka's variant of MurmurHash2 (``org.apache.kafka.common.utils.Utils.murmur2``), of all keys at once."""
    import numpy

    multiplier = numpy.uint32(_MULTIPLIER)
    words = keys.view("<u4").reshape(len(keys), -1)
    hashes: NDArray[numpy.uint32] = numpy.uint32(_SEED) ^ lengths
    for number in range(_LONGEST // _WORD_BYTES):
        word, begin = words[:, number], _WORD_BYTES * number
        mixed = word * multiplier
        mixed ^= mixed >> numpy.uint32(24)
        whole = (hashes * multiplier) ^ (mixed * multiplier)
        rest = (hashes ^ word) * multiplier  # up to three last bytes; behind them the array holds zeros
        hashes = numpy.where(lengths >= begin + _WORD_BYTES, whole, numpy.where(lengths > begin, rest, hashes))
    hashes = (hashes ^ (hashes >> numpy.uint32(13))) * multiplier
    return hashes ^ (hashes >> numpy.uint32(15))
