"""Thefts: when a car is taken, found gone, reported and listed, and how the list hears that it was found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from streams.core.plates import confusion_key
from streams.simulate.observed import THEFT_WINDOW_MIN, drawn
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Car, mistyped

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS

STOLEN_BEFORE_MS: Final = 36 * _HOUR_MS
"""The first cars are stolen this long before the log begins: the list is not empty then."""
_WINDOW_STEP: Final = 0.025


class Theft(msgspec.Struct, frozen=True, kw_only=True):
    """The story of a stolen car; ``lat``, ``lon``: where it stood.

    ``last_seen_ms`` is when its owner last saw it, as the report says, None if it says nothing; ``entered_plate`` is
    what the list said first, right or wrong, and ``corrected_at_ms`` when that was put right; ``still_listed``: nobody
    tells the list that the car was given back.
    """

    hit_id: str
    oca: str
    car: Car
    lat: float
    lon: float
    stolen_at_ms: int
    abandoned_at_ms: int
    last_seen_ms: int | None
    reported_at_ms: int
    entered_at_ms: int
    entered_plate: str
    corrected_at_ms: int
    fate: Literal["missing", "recovered", "cancelled"]
    closed_at_ms: int
    still_listed: bool

    @property
    def with_owner_from_ms(self) -> int | None:
        """When its owner drives it again, whatever the list says; None if never."""
        return {"missing": None, "recovered": self.closed_at_ms, "cancelled": self.reported_at_ms}[self.fate]

    def drivable_at(self, at_ms: int) -> bool:
        """Whether it is with those who took it an hour before and after a moment; a withdrawn theft was none."""
        if self.fate == "cancelled":
            return False
        return self.stolen_at_ms + _HOUR_MS <= at_ms <= self.abandoned_at_ms - _HOUR_MS


def theft(number: int, car: Car, place: tuple[float, float], plan: CityPlan, rng: random.Random) -> Theft:
    """Return the story of the ``number``-th stolen car; which faults are on changes no draw."""
    stolen_at_ms = rng.randrange(plan.begin_ms - STOLEN_BEFORE_MS, plan.end_ms)
    abandoned_at_ms = stolen_at_ms + _delay_ms(plan.kept_median_h, 0.8, rng)
    # it was taken at some moment between when it was last seen and when it was found gone
    unnoticed_ms = round(_MINUTE_MS * drawn(THEFT_WINDOW_MIN, rng, _WINDOW_STEP))
    last_seen_ms = stolen_at_ms - round(unnoticed_ms * rng.random())
    reported_at_ms = last_seen_ms + unnoticed_ms + _delay_ms(plan.report_delay_median_h, 1.0, rng)
    entered_at_ms = reported_at_ms + rng.randrange(2 * _MINUTE_MS, 30 * _MINUTE_MS)
    corrected_at_ms = entered_at_ms + _delay_ms(1.5, 0.8, rng)
    recovered_at_ms = max(abandoned_at_ms, corrected_at_ms) + _delay_ms(8.0, 1.0, rng)
    withdrawn_at_ms = corrected_at_ms + _delay_ms(5.0, 1.0, rng)
    lot, unknown, wrong, forgotten = (rng.random() for _ in range(4))
    fate: Literal["missing", "recovered", "cancelled"] = "missing"
    if lot < plan.cancelled_share:
        fate = "cancelled"
    elif lot > 1 - plan.recovered_share:
        fate = "recovered"
    mistaken = mistyped(car.plate, rng)
    return Theft(
        hit_id=f"SIM-V{number:07d}",
        oca=f"SIM-{number:07d}",
        car=car,
        lat=place[0],
        lon=place[1],
        stolen_at_ms=stolen_at_ms,
        abandoned_at_ms=abandoned_at_ms,
        last_seen_ms=None if unknown < plan.theft_time_unknown_share else last_seen_ms,
        reported_at_ms=reported_at_ms,
        entered_at_ms=entered_at_ms,
        entered_plate=mistaken if wrong < plan.plate_corrected_share else car.plate,
        corrected_at_ms=corrected_at_ms,
        fate=fate,
        closed_at_ms=withdrawn_at_ms if fate == "cancelled" else recovered_at_ms,
        still_listed=forgotten < plan.still_listed_share,
    )


def listing(theft: Theft, plan: CityPlan, rng: random.Random) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield stamp in ms, plate key and value of each revision of a listing, in order.

    What the list said before the log begins is stamped as it begins; later changes come with the next copy of it that
    is made. A wrong plate is cancelled under its own key
    before the right one is listed (JOIN.md, a corrected plate).
    """
    right = theft.car.plate
    steps = [(theft.entered_at_ms, theft.entered_plate, "active")]
    if theft.entered_plate != right:
        steps += [(theft.corrected_at_ms, theft.entered_plate, "cancelled"), (theft.corrected_at_ms, right, "active")]
    if theft.fate != "missing" and not (theft.fate == "recovered" and theft.still_listed):
        # Those who found it tell the list later: recovered cars stay listed for hours.
        steps.append((theft.closed_at_ms + _delay_ms(2.0, 0.6, rng), right, theft.fate))
    stamp_ms = plan.begin_ms
    for revision, (changed_at_ms, plate, status) in enumerate(steps):
        updated_at_ms = _copied_ms(changed_at_ms, plan)
        stamp_ms = max(stamp_ms, updated_at_ms) + rng.randrange(1, 3_000)
        yield stamp_ms, confusion_key(plate), _hit(theft, revision, updated_at_ms, plate, status)


def _copied_ms(changed_at_ms: int, plan: CityPlan) -> int:
    """Return when the first copy of the list is made that has a change."""
    every_ms = round(plan.list_refresh_h * _HOUR_MS)
    return changed_at_ms if not every_ms else changed_at_ms + -(changed_at_ms - plan.begin_ms) % every_ms


def _hit(theft: Theft, revision: int, updated_at_ms: int, plate: str, status: str) -> dict[str, Any]:
    value: dict[str, Any] = {
        "hit_id": theft.hit_id,
        "revision": revision,
        "status": status,
        "plate": plate,
        "region": theft.car.region,
        "reported_at_ms": theft.reported_at_ms,
        "make": theft.car.make,
        "model": theft.car.model,
        "colour": theft.car.colour,
        "year": theft.car.year,
        # No agency's: the field's form, and plainly nobody's number.
        "ori": "ZZ0000001",
        "oca": theft.oca,
        "list_updated_at_ms": updated_at_ms,
        "lat": theft.lat,
        "lon": theft.lon,
    }
    if theft.last_seen_ms is not None:
        value["stolen_at_ms"] = theft.last_seen_ms
    if status == "recovered":
        value["cleared_at_ms"] = theft.closed_at_ms
    return value


def _delay_ms(median_h: float, sigma: float, rng: random.Random) -> int:
    return round(median_h * _HOUR_MS * rng.lognormvariate(0.0, sigma))
