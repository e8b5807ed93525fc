"""Puts mutated records through the intake and checks every verdict."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Final

from msgspec import Struct, field

from streams.core.events import InvalidRecord, Record, canonical
from streams.core.intake import Intake
from streams.core.rules import JoinRules
from streams.core.topics import READS
from tests.drivers.engine import scenario
from tests.fuzz.mutate import Mutated, Mutator, valid_records

MS_MAX: Final = 20.0
"""Processor time of the slowest record: thrice that of 64 KiB of the costliest shape."""
TRIES: Final = 3
"""The least of so many counts, because the machine does other things as well."""
FAULTS_MAX: Final = 10

Verdict = tuple[str, str, str]


class Report(Struct):
    """What became of the records."""

    seed: int
    records: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    """Records by reason of rejection, or ``admitted``."""
    mutations: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    largest_bytes: int = 0
    slowest_ms: float = 0.0
    slowest_number: int = 0
    columns_agree: int = 0
    """Reads that the path for columns admitted as well, with the same event and key."""
    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)


def fuzz(number: int, seed: int, progress: Callable[[int, float], None] = lambda done, took_s: None) -> Report:
    """Admit ``number`` records; stops early after `FAULTS_MAX` faults.

    ``progress`` is called now and then with the number of records done and the seconds taken.
    """
    mutator, report = Mutator(valid_records(), seed), Report(seed)
    verdicts: Counter[str] = Counter()
    mutations: Counter[str] = Counter()
    checked = _Checked()
    began_s = perf_counter()
    for mutated in mutator.records(number):
        verdict = checked.verdict(mutated, report)
        verdicts[verdict] += 1
        mutations.update(mutated.mutations)
        report.records += 1
        report.bytes += len(mutated.value)
        report.largest_bytes = max(report.largest_bytes, len(mutated.value))
        if report.records % 1_000 == 0:
            progress(report.records, perf_counter() - began_s)
        if len(report.faults) >= FAULTS_MAX:
            break
    report.took_s = perf_counter() - began_s
    report.verdicts, report.mutations = dict(verdicts.most_common()), dict(mutations.most_common())
    return report


class _Checked:
    """Two intakes that must agree, and the checks of one record."""

    def __init__(self) -> None:
        site = scenario(0).site
        self._intake, self._other = Intake(site, JoinRules()), Intake(site, JoinRules())

    def verdict(self, mutated: Mutated, report: Report) -> str:
        """Return the reason of rejection or ``admitted``; adds what is wrong to the report."""
        record = Record(mutated.topic, 0, mutated.number, mutated.stamp_ms, mutated.value)
        try:
            began_s = thread_time()
            verdict = _verdict(self._intake, record)
            took_ms = 1000 * (thread_time() - began_s)
            if took_ms > report.slowest_ms:
                took_ms = min(took_ms, *(_again_ms(self._intake, record) for _ in range(TRIES)))
            if took_ms > report.slowest_ms:
                report.slowest_ms, report.slowest_number = took_ms, mutated.number
            if took_ms > MS_MAX:
                report.faults.append(_fault(mutated, f"took {took_ms:.0f} ms, more than {MS_MAX:.0f}"))
            # Bytes of their own: neither identity nor a cached hash can make the verdicts agree.
            copy = Record(mutated.topic, 0, mutated.number, mutated.stamp_ms, bytes(bytearray(mutated.value)))
            if (other := _verdict(self._other, copy)) != verdict:
                report.faults.append(_fault(mutated, f"verdict {verdict}, then {other}"))
            if mutated.topic == READS:
                self._compare_columns(mutated, verdict, report)
        except Exception as error:
            report.faults.append(_fault(mutated, f"raised {error!r:.500}"))
            return "raised"
        return verdict[0]

    def _compare_columns(self, mutated: Mutated, verdict: Verdict, report: Report) -> None:
        """The path for columns decides nothing, or decides the same."""
        columns = self._intake.admit_reads([mutated.value], [mutated.stamp_ms])
        if columns is None:
            return
        report.columns_agree += 1
        if _admitted(canonical(columns.reads[0]), columns.plate_keys[0]) != verdict:
            report.faults.append(_fault(mutated, f"verdict {verdict}, but admitted as a column"))


def _verdict(intake: Intake, record: Record) -> Verdict:
    try:
        admitted = intake.admit(record)
    except InvalidRecord as invalid:
        return invalid.reason, invalid.field, invalid.detail
    return _admitted(canonical(admitted.event), admitted.plate_key)


def _admitted(event: bytes, plate_key: str) -> Verdict:
    return "admitted", plate_key, event.decode()


def _again_ms(intake: Intake, record: Record) -> float:
    began_s = thread_time()
    _verdict(intake, record)
    return 1000 * (thread_time() - began_s)


def _fault(mutated: Mutated, text: str) -> str:
    shown = base64.b64encode(mutated.value[:2_000]).decode()
    return f"record {mutated.number} ({mutated.topic}, {', '.join(mutated.mutations)}): {text}; value {shown}"
