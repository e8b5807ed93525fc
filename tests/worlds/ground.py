"""The site and settings of the small worlds, and ways to write a plate."""

from __future__ import annotations

import math
import random

from tests.oracle.join import EARTH_RADIUS_M
from tests.oracle.records import Value

MINUTE_MS = 60_000

# Metres north of the base point. A car drives 600 m a minute, so most shots reach most ramps on a
# whole minute; .4 and .6 show that a distance is rounded before it is used.
SHOTS_M = (0, 1200, 2400, -250)
RAMPS_M = (0, 750, 1975, 3000.4, 3600, 3600.6, -1350)
CONFUSED = ("0OQD", "1I", "2Z", "5S", "8B", "6G")


def settings(rng: random.Random) -> Value:
    return {
        "before_ms": 8 * MINUTE_MS,
        "after_ms": 6 * MINUTE_MS,
        "max_distance_m": rng.choice((3600, 3600, 3000, 1800)),
        "max_speed_mps": rng.choice((10, 10, 15)),
        "reach_slack_m": rng.choice((150, 150, 0)),
        "min_confidence": rng.choice((0.6, 0.6, 0.6, 0.0)),
        "max_lookalikes": rng.choice((1, 1, 1, 0, 2)),
        "unknown_theft_lookback_ms": 12 * MINUTE_MS,
        "hit_ttl_ms": rng.choice((300, 300, 40)) * MINUTE_MS,
        "read_retention_ms": 20 * MINUTE_MS,
        "incident_retention_ms": rng.choice((100, 100, 30)) * MINUTE_MS,
        # longer than any world: the contract promises nothing about a forgotten shot
        "shot_memory_ms": 10_000 * MINUTE_MS,
        "max_future_skew_ms": 2 * MINUTE_MS,
        "stamp_slack_ms": 3 * MINUTE_MS,
        "max_hits_per_plate": 32,
        "max_shots": 1000,
        "placeholder_plates": ["UNKNOWN", "NOPLATE", "NONE", "NA", "XXXXXX", "000000"],
    }


class Ground:
    """A meridian with ramps and shots on it, and two zones: one with a hole, one in two parts."""

    def __init__(self, rng: random.Random) -> None:
        self.lat, self.lon = rng.choice(((41.76, -72.67), (41.76, -72.67), (0.5, 0.0)))
        self.ramps = {f"ramp-{n}": self.latitude(metres) for n, metres in enumerate(RAMPS_M)}

    def latitude(self, metres: float) -> float:
        return self.lat + math.degrees(metres / EARTH_RADIUS_M)

    def band(self, south_m: float, north_m: float, half_width: float) -> list[list[float]]:
        south, north = self.latitude(south_m), self.latitude(north_m)
        west, east = self.lon - half_width, self.lon + half_width
        return [[west, south], [east, south], [east, north], [west, north], [west, south]]

    def site(self) -> Value:
        ramps = [
            {
                "type": "Feature",
                "properties": {
                    "ramp_id": name,
                    "road": f"I-{91 + n % 2}",
                    "exit": str(30 + n),
                    "direction": ("on", "off")[n % 2],
                },
                "geometry": {"type": "Point", "coordinates": [self.lon, lat]},
            }
            for n, (name, lat) in enumerate(self.ramps.items())
        ]
        holed = [self.band(-600, 610, 0.02), self.band(-300, -200, 0.01)]
        parts = [[self.band(1100, 1310, 0.02)], [self.band(5000, 6000, 0.02)]]
        shapes = (("north", "Polygon", holed), ("south", "MultiPolygon", parts))
        zones = [
            {
                "type": "Feature",
                "properties": {"zone_id": zone_id, "name": zone_id.title()},
                "geometry": {"type": shape, "coordinates": coordinates},
            }
            for zone_id, shape, coordinates in shapes
        ]
        return {"type": "FeatureCollection", "time_zone": "America/New_York", "features": [*ramps, *zones]}


def lookalike(rng: random.Random, plate: str, most: int) -> str:
    """Another plate with the same key: up to ``most`` characters replaced by lookalikes."""
    characters = list(plate)
    for _ in range(most):
        at = rng.randrange(len(characters))
        group = next((group for group in CONFUSED if characters[at] in group), characters[at])
        characters[at] = rng.choice(group)
    return "".join(characters)


def written(rng: random.Random, plate: str) -> str:
    """The plate in another spelling: the same when normalised."""
    ways = (plate, plate, plate, plate.lower(), f"{plate[:3]}-{plate[3:]}", f" {plate[:2]} {plate[2:]} ")
    wide = "".join(chr(ord(character) + 0xFEE0) for character in plate)
    return rng.choice((*ways, wide))
