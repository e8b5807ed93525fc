"""Camera reads of simulated passages, including the cameras' errors."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from streams.core.plates import confusion_key
from streams.simulate.cars import COLOURS, MAKES
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Car, Passage, misread


class Cameras:
    """Turns passages into read records, with the plan's camera faults applied.

    Each fault has its own random stream. It draws once per passage, and draws more only where the
    fault occurs. So enabling one fault leaves all unaffected reads unchanged.
    """

    def __init__(self, plan: CityPlan) -> None:
        self._plan = plan
        self._camera_ids: dict[str, str] = {}  # one string per camera rather than one per read
        self._base = random.Random(f"{plan.seed}/cameras")
        self._clock_errors_ms: dict[str, int] = {}
        # The stream names are part of the seed: renaming one changes every simulated city.
        self._missed = random.Random(f"{plan.seed}/missing")
        self._misreading = random.Random(f"{plan.seed}/misreading")
        self._region = random.Random(f"{plan.seed}/region")
        self._low_confidence = random.Random(f"{plan.seed}/doubt")
        self._delay = random.Random(f"{plan.seed}/delay")
        self._duplicate = random.Random(f"{plan.seed}/again")
        self._appearance = random.Random(f"{plan.seed}/sight")

    def records(self, read_id: str, passage: Passage) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield the stamp in ms, plate key and value of each record of a passage.

        A missed passage has no record, a duplicated one has two.
        """
        plan, base = self._plan, self._base
        at_ms, car, ramp, _ = passage
        confidence = 0.85 + 0.14 * base.random()
        stamp_ms = at_ms + 200 + int(2_800 * base.random())
        if self._delay.random() < plan.late_share:
            stamp_ms += self._delay.randrange(2 * 60_000, 40 * 60_000)
        if self._low_confidence.random() < plan.low_confidence_share:
            confidence -= self._low_confidence.uniform(0.1, 0.5)
        plate, key = car.plate, car.plate_key
        if self._misreading.random() < plan.misread_share:
            plate = misread(plate, plan.misread_lookalike_share, self._misreading)
            key = confusion_key(plate)
            confidence -= self._misreading.uniform(0.0, 0.2)
        value: dict[str, Any] = {
            "read_id": read_id,
            "plate": plate,
            "captured_at_ms": at_ms + self._clock_error_ms(ramp.ramp_id),
            "ramp_id": ramp.ramp_id,
            "camera_id": self._camera_ids.setdefault(ramp.ramp_id, ramp.ramp_id + "-1"),
            "confidence": round(confidence, 3),
            "direction": ramp.direction,
        }
        value |= self._make_and_colour(car)
        if self._region.random() >= plan.region_unknown_share:
            value["region"] = car.region
        duplicated = self._duplicate.random() < plan.duplicate_share
        duplicate_after_ms = self._duplicate.randrange(100, 5_000) if duplicated else 0
        if self._missed.random() < plan.miss_share:
            return
        yield stamp_ms, key, value
        if duplicated:
            yield stamp_ms + duplicate_after_ms, key, value

    def _make_and_colour(self, car: Car) -> dict[str, str]:
        """Return make and colour as the camera sees them, or nothing if it recognises neither."""
        plan, appearance = self._plan, self._appearance
        make, colour = car.make, car.colour
        unknown, wrong_make, wrong_colour = appearance.random(), appearance.random(), appearance.random()
        if wrong_make < plan.make_wrong_share:
            make = appearance.choice([other for other in MAKES if other != make])
        if wrong_colour < plan.colour_wrong_share:
            colour = appearance.choice([other for other in COLOURS if other != colour])
        return {} if unknown < plan.make_unknown_share else {"make": make, "colour": colour}

    def _clock_error_ms(self, ramp_id: str) -> int:
        """Return how far the clock of a ramp's camera runs ahead; negative if it is behind."""
        if ramp_id not in self._clock_errors_ms:
            rng = random.Random(f"{self._plan.seed}/clock/{ramp_id}")
            wrong, max_error_ms = rng.random() < self._plan.clock_off_share, 1000 * self._plan.clock_off_max_s
            self._clock_errors_ms[ramp_id] = round(rng.uniform(-max_error_ms, max_error_ms)) if wrong else 0
        return self._clock_errors_ms[ramp_id]
