"""Formats linked incidents for dispatchers, including what to confirm first."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from rich.text import Text

from streams.core.events import LinkedIncident, LinkedVehicle, Sighting
from streams.core.plates import region
from streams.core.site import CITY, Site

_STYLE: Final = {"high": "bold white on red", "medium": "bold black on yellow", "low": "bold white on blue"}
_KIND: Final = {
    "single_gunshot": "single gunshot",
    "multiple_gunshots": "multiple gunshots",
    "probable_gunfire": "probable gunfire",
}
_WARNING: Final = {
    "lookalike": "no exact plate match, only a lookalike",
    "region_unknown": "state not confirmed",
    "low_confidence": "low camera confidence",
    "list_age": "stolen-vehicle list may be out of date",
    "make_differs": "make differs",
    "colour_differs": "colour differs",
    "unreviewed": "shots not yet reviewed",
    "plate_short": "short plate",
}


class IncidentText:
    """Formats incidents of one site as text, in the site's local time."""

    def __init__(self, site: Site) -> None:
        self._zone_names = {zone.zone_id: zone.name for zone in site.zones} | {CITY: site.title or site.name}
        self._clock = ZoneInfo(site.time_zone)

    def text(self, incident: LinkedIncident) -> Text:
        """Return an incident in a few lines; the colour shows its strength."""
        if incident.status == "retracted":
            return self._retracted(incident)
        text = Text()
        text.append(f" {incident.strength.upper()} {incident.score:.2f} ", _STYLE[incident.strength])
        text.append(f" {self._place(incident)}", "bold")
        text.append(f"  {self._shots(incident)}")
        if incident.revision > 1:
            text.append(f"  update {incident.revision}", "dim")
        text.append(f"\n    car    {self._car(incident.vehicle)}")
        best = min(incident.sightings, key=lambda sighting: abs(sighting.seconds_from_shot))
        text.append(f"\n    seen   {_seen(best)}")
        if len(incident.sightings) > 1:
            text.append(f", and {len(incident.sightings) - 1} more read{'s' * (len(incident.sightings) > 2)}")
        text.append(f"\n    first  {_confirm(incident.vehicle)}", "yellow")
        if incident.warnings:
            text.append(f"\n    note   {', '.join(_WARNING[code] for code in incident.warnings)}", "yellow")
        return text

    def _retracted(self, incident: LinkedIncident) -> Text:
        text = Text(" RETRACTED ", "bold black on white")
        text.append(f" {self._place(incident)}  {self._shots(incident)}", "dim")
        text.append(f"\n    no longer linked to these shots: {self._car(incident.vehicle)}", "dim")
        return text

    def _place(self, incident: LinkedIncident) -> str:
        return self._zone_names.get(incident.zone_id, incident.zone_id)

    def _shots(self, incident: LinkedIncident) -> str:
        shot = incident.shot
        rounds = f", {shot.rounds} round{'s' * (shot.rounds != 1)}" if shot.rounds else ""
        return f"{_KIND[shot.kind]}{rounds} at {self._time(shot.occurred_at_ms)} ({shot.status})"

    def _car(self, vehicle: LinkedVehicle) -> str:
        description = " ".join(
            str(part) for part in (vehicle.colour, vehicle.make, vehicle.model, vehicle.year) if part
        )
        state = (region(vehicle.region) or "state unknown").removeprefix("US-")
        stolen = f"reported stolen {self._time(vehicle.reported_at_ms)}"
        return f"{description or 'car'}, plate {vehicle.plate} ({state}), {stolen}"

    def _time(self, at_ms: int) -> str:
        return datetime.fromtimestamp(at_ms / 1000, self._clock).strftime("%a %H:%M:%S")


def _seen(sighting: Sighting) -> str:
    ramp = f"{sighting.road} exit {sighting.exit} {sighting.direction}-ramp"
    delay_s = sighting.seconds_from_shot
    when = f"{_duration(abs(delay_s))} {'after' if delay_s >= 0 else 'before'} the shots"
    return f"{ramp}, {when}, {sighting.distance_m / 1000:.1f} km away; camera confidence {sighting.confidence:.0%}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _confirm(vehicle: LinkedVehicle) -> str:
    agency = vehicle.ori or "the entering agency"
    case = f", case {vehicle.oca}" if vehicle.oca else ""
    return f"confirm plate and state by eye, and the listing with {agency}{case}"
