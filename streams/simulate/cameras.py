"""What cameras report of the cars that pass, and how they err."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from streams.core.plates import confusion_key
from streams.simulate.cars import COLOURS, MAKES
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Car, Passage, misread


class Cameras:
    """What the cameras report of the passages, with the plan's faults.

    Each fault draws from a stream of its own, once for each passage and more often only where it strikes: a fault
    turned on leaves all other reads as they were.
    """

    def __init__(self, plan: CityPlan) -> None:
        self._plan = plan
        self._camera_ids: dict[str, str] = {}  # one text a camera, not one a read
        self._usual = random.Random(f"{plan.seed}/cameras")
        self._clocks_ms: dict[str, int] = {}
        faults = ("missing", "misreading", "region", "doubt", "delay", "again", "sight")
        (self._missing, self._misreading, self._region, self._doubt, self._delay, self._again, self._sight) = (
            random.Random(f"{plan.seed}/{fault}") for fault in faults
        )

    def records(self, read_id: str, passage: Passage) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield stamp in ms, plate key and value of each record of a passage: none if missed, two if repeated."""
        plan, usual = self._plan, self._usual
        at_ms, car, ramp, _ = passage
        confidence = 0.85 + 0.14 * usual.random()
        stamp_ms = at_ms + 200 + int(2_800 * usual.random())
        if self._delay.random() < plan.late_share:
            stamp_ms += self._delay.randrange(2 * 60_000, 40 * 60_000)
        if self._doubt.random() < plan.low_confidence_share:
            confidence -= self._doubt.uniform(0.1, 0.5)
        plate, key = car.plate, car.plate_key
        if self._misreading.random() < plan.misread_share:
            plate = misread(plate, plan.misread_lookalike_share, self._misreading)
            key = confusion_key(plate)
            confidence -= self._misreading.uniform(0.0, 0.2)
        value: dict[str, Any] = {
            "read_id": read_id,
            "plate": plate,
            "captured_at_ms": at_ms + self._clock_ms(ramp.ramp_id),
            "ramp_id": ramp.ramp_id,
            "camera_id": self._camera_ids.setdefault(ramp.ramp_id, ramp.ramp_id + "-1"),
            "confidence": round(confidence, 3),
            "direction": ramp.direction,
        }
        value |= self._looks(car)
        if self._region.random() >= plan.region_unknown_share:
            value["region"] = car.region
        repeated = self._again.random() < plan.duplicate_share
        again_ms = self._again.randrange(100, 5_000) if repeated else 0
        if self._missing.random() < plan.miss_share:
            return
        yield stamp_ms, key, value
        if repeated:
            yield stamp_ms + again_ms, key, value

    def _looks(self, car: Car) -> dict[str, str]:
        """Return make and colour as the camera sees them; nothing where it does not say."""
        plan, sight = self._plan, self._sight
        make, colour = car.make, car.colour
        unknown, wrong_make, wrong_colour = sight.random(), sight.random(), sight.random()
        if wrong_make < plan.make_wrong_share:
            make = sight.choice([other for other in MAKES if other != make])
        if wrong_colour < plan.colour_wrong_share:
            colour = sight.choice([other for other in COLOURS if other != colour])
        return {} if unknown < plan.make_unknown_share else {"make": make, "colour": colour}

    def _clock_ms(self, ramp_id: str) -> int:
        """Return by how much the clock of a ramp's camera is ahead."""
        if ramp_id not in self._clocks_ms:
            rng = random.Random(f"{self._plan.seed}/clock/{ramp_id}")
            wrong, off_ms = rng.random() < self._plan.clock_off_share, 1000 * self._plan.clock_off_max_s
            self._clocks_ms[ramp_id] = round(rng.uniform(-off_ms, off_ms)) if wrong else 0
        return self._clocks_ms[ramp_id]
