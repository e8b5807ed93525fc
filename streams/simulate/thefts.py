"""Simulated thefts: when a car is taken, missed, reported, listed and taken off the list."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from streams.core.plates import confusion_key
from streams.simulate.observed import THEFT_WINDOW_MIN, sample_quantiles
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Car, mistyped

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS

STOLEN_BEFORE_MS: Final = 36 * _HOUR_MS
"""The first thefts happen this long before the plan, so that the list is not empty at its start."""
_WINDOW_STEP: Final = 0.025
"""Probability between neighbouring quantiles of `THEFT_WINDOW_MIN`."""


class Theft(msgspec.Struct, frozen=True, kw_only=True):
    """A stolen car, from the theft to the end of its listing.

    ``lat``, ``lon``: where it was stolen. ``last_seen_ms``: when its owner last saw it according to
    the report; None if the report does not give a time. ``entered_plate``: the plate first listed,
    right or wrong; a wrong one is corrected at ``corrected_at_ms``. ``still_listed``: the listing
    stays active although the car was recovered.
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
        """When its owner drives it again, whether listed or not; None if never."""
        return {"missing": None, "recovered": self.closed_at_ms, "cancelled": self.reported_at_ms}[self.fate]

    def drivable_at(self, at_ms: int) -> bool:
        """Whether the thief has the car from an hour before to an hour after.

        Never if the report is withdrawn.
        """
        if self.fate == "cancelled":
            return False
        return self.stolen_at_ms + _HOUR_MS <= at_ms <= self.abandoned_at_ms - _HOUR_MS


def simulated_theft(number: int, car: Car, location: tuple[float, float], plan: CityPlan, rng: random.Random) -> Theft:
    """Return the theft of the ``number``-th stolen car.

    Enabling a fault does not change how often ``rng`` is called.
    """
    stolen_at_ms = rng.randrange(plan.begin_ms - STOLEN_BEFORE_MS, plan.end_ms)
    abandoned_at_ms = stolen_at_ms + _delay_ms(plan.kept_median_h, 0.8, rng)
    # The theft happens at some time between the owner's last sight of the car and the discovery.
    unnoticed_ms = round(_MINUTE_MS * sample_quantiles(THEFT_WINDOW_MIN, rng, _WINDOW_STEP))
    last_seen_ms = stolen_at_ms - round(unnoticed_ms * rng.random())
    reported_at_ms = last_seen_ms + unnoticed_ms + _delay_ms(plan.report_delay_median_h, 1.0, rng)
    entered_at_ms = reported_at_ms + rng.randrange(2 * _MINUTE_MS, 30 * _MINUTE_MS)
    corrected_at_ms = entered_at_ms + _delay_ms(1.5, 0.8, rng)
    recovered_at_ms = max(abandoned_at_ms, corrected_at_ms) + _delay_ms(8.0, 1.0, rng)
    withdrawn_at_ms = corrected_at_ms + _delay_ms(5.0, 1.0, rng)
    fate_draw, unknown_draw, wrong_draw, stale_draw = (rng.random() for _ in range(4))
    fate: Literal["missing", "recovered", "cancelled"] = "missing"
    if fate_draw < plan.cancelled_share:
        fate = "cancelled"
    elif fate_draw > 1 - plan.recovered_share:
        fate = "recovered"
    mistyped_plate = mistyped(car.plate, rng)
    return Theft(
        hit_id=f"SIM-V{number:07d}",
        oca=f"SIM-{number:07d}",
        car=car,
        lat=location[0],
        lon=location[1],
        stolen_at_ms=stolen_at_ms,
        abandoned_at_ms=abandoned_at_ms,
        last_seen_ms=None if unknown_draw < plan.theft_time_unknown_share else last_seen_ms,
        reported_at_ms=reported_at_ms,
        entered_at_ms=entered_at_ms,
        entered_plate=mistyped_plate if wrong_draw < plan.plate_corrected_share else car.plate,
        corrected_at_ms=corrected_at_ms,
        fate=fate,
        closed_at_ms=withdrawn_at_ms if fate == "cancelled" else recovered_at_ms,
        still_listed=stale_draw < plan.still_listed_share,
    )


def listing_records(theft: Theft, plan: CityPlan, rng: random.Random) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the stamp in ms, plate key and value of each revision of a listing, in order.

    Entries from before the plan are stamped at its beginning. Later changes arrive with the next
    copy of the list. A wrong plate is cancelled under its own key before the right one is listed
    (``streams/core/JOIN.md``).
    """
    true_plate = theft.car.plate
    steps = [(theft.entered_at_ms, theft.entered_plate, "active")]
    if theft.entered_plate != true_plate:
        steps += [
            (theft.corrected_at_ms, theft.entered_plate, "cancelled"),
            (theft.corrected_at_ms, true_plate, "active"),
        ]
    if theft.fate != "missing" and not (theft.fate == "recovered" and theft.still_listed):
        # Listings are closed some time after the recovery: recovered cars stay listed for hours.
        steps.append((theft.closed_at_ms + _delay_ms(2.0, 0.6, rng), true_plate, theft.fate))
    stamp_ms = plan.begin_ms
    for revision, (changed_at_ms, plate, status) in enumerate(steps):
        updated_at_ms = _copied_ms(changed_at_ms, plan)
        stamp_ms = max(stamp_ms, updated_at_ms) + rng.randrange(1, 3_000)
        yield stamp_ms, confusion_key(plate), _hit(theft, revision, updated_at_ms, plate, status)


def _copied_ms(changed_at_ms: int, plan: CityPlan) -> int:
    """Return the time of the first copy of the list that includes a change."""
    interval_ms = round(plan.list_refresh_h * _HOUR_MS)
    return changed_at_ms if not interval_ms else changed_at_ms + -(changed_at_ms - plan.begin_ms) % interval_ms


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
        # Well-formed, but not the identifier of any agency.
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
