"""The cars of a simulated city: plates, home states, makes, models and colours."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Final

from streams.core.plates import plate_key
from streams.core.site import Site
from streams.simulate.plan import CityPlan
from streams.simulate.plates import Car, invented_plates, misread

_HOME_REGION: Final = {"America/New_York": "US-CT", "America/Chicago": "US-MO"}
_NEIGHBOURS: Final = {"US-CT": ("US-MA", "US-NY", "US-RI"), "US-MO": ("US-KS", "US-IL", "US-NE")}
_HOME_SHARE: Final = 0.92
_MODELS: Final = (
    ("Kia", "Sportage"),
    ("Hyundai", "Elantra"),
    ("Honda", "Civic"),
    ("Toyota", "Camry"),
    ("Ford", "F-150"),
    ("Chevrolet", "Malibu"),
    ("Nissan", "Altima"),
    ("Jeep", "Grand Cherokee"),
    ("Subaru", "Outback"),
    ("Dodge", "Charger"),
)
MAKES: Final = tuple(make for make, _ in _MODELS)
COLOURS: Final = ("black", "white", "grey", "silver", "blue", "red", "green")


def cars(site: Site, plan: CityPlan) -> tuple[list[Car], list[Car]]:
    """Return the cars that will be stolen, and all other cars.

    Some of the others are twins: a camera can mistake their plates for those of stolen cars. The
    plan sets how many there are.

    Raises ValueError if neither the plan nor the site's time zone gives a home region, or if the
    plan has more cars than there are invented plates.
    """
    rng = random.Random(f"{plan.seed}/cars")
    home = plan.region or _HOME_REGION.get(site.time_zone)
    if home is None:
        raise ValueError(f"time zone {site.time_zone}: has no known home region; set the plan's region")
    neighbours = _NEIGHBOURS.get(home, (home,))
    this_year = datetime.fromtimestamp(plan.begin_ms / 1000, UTC).year
    all_cars = []
    for plate in invented_plates(plan.stolen_cars + plan.ordinary_cars, rng):
        region = home if rng.random() < _HOME_SHARE else rng.choice(neighbours)
        make, model = rng.choice(_MODELS)
        year = this_year - rng.randrange(18)
        all_cars.append(Car(plate, plate_key(plate), region, make, model, rng.choice(COLOURS), year))
    stolen, ordinary = all_cars[: plan.stolen_cars], all_cars[plan.stolen_cars :]
    return stolen, _with_twins(stolen, ordinary, plan)


def _with_twins(stolen: list[Car], ordinary: list[Car], plan: CityPlan) -> list[Car]:
    """Give some ordinary cars distinct plates that a camera can mistake for stolen ones."""
    if not stolen:
        return ordinary
    rng = random.Random(f"{plan.seed}/twins")
    plates: dict[str, str] = {}
    for _ in range(round(plan.twins_per_stolen_car * len(stolen))):
        original = rng.choice(stolen)
        twin = misread(original.plate, 1.0, rng)
        if plate_key(twin) == original.plate_key:
            plates[twin] = original.plate_key
    twins = [
        car._replace(plate=plate, plate_key=key) for car, (plate, key) in zip(ordinary, plates.items(), strict=False)
    ]
    return twins + ordinary[len(twins) :]
