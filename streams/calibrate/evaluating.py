"""``rampwatch evaluate``: what the score is worth on weeks that it was not fitted to, beside simpler rankings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import sqrt
from typing import Final

from msgspec import Struct, structs

from streams.calibrate.calibrating import Progress, digest
from streams.calibrate.examples import ANYWHERE, Examined, Example, examine, world
from streams.calibrate.measure import Quality, Ranked, average_precision, quality
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.simulate.city import City

JOIN: Final = JoinRules()


class Line(Struct, frozen=True):
    """One ranking, or the part of it from some strength on; ``average_precision`` belongs to whole rankings."""

    what: str
    quality: Quality
    average_precision: float | None
    error: float | None
    """The standard error of the average precision, by leaving out one week at a time."""


class Setting(Struct, frozen=True):
    """The same score where the city is otherwise than the one it was fitted to."""

    what: str
    usual: bool
    to_find: int
    unscored: Quality
    high: Quality
    unscored_average_precision: float
    average_precision: float


class Band(Struct, frozen=True):
    """Incidents whose scores lie together, and how many of them were true."""

    from_score: float
    named: int
    right: int


class Evaluation(Struct, frozen=True):
    """``with_lookalikes`` and ``without``: lines of rankings; then settings, and bands of scores as usual."""

    site: str
    calibration: str
    """A digest of the numbers that were evaluated."""
    seeds: tuple[int, int]
    few_seeds: tuple[int, int]
    with_lookalikes: list[Line]
    without: list[Line]
    settings: list[Setting]
    bands: list[Band]


Ranking = Callable[[Example], float]


def evaluate(
    site: Site, elsewhere: Site, seeds: range, few: int, calibration: Calibration, progress: Progress
) -> Evaluation:
    """Evaluate on one week a seed, and in every other setting on the first ``few`` of them."""
    progress("as usual")
    weeks = [world(site, seed) for seed in seeds]
    tables = []
    for lookalikes in (1, 0):
        progress(f"rankings with {lookalikes} lookalikes")
        joined = _examined_all(site, weeks, JOIN, lookalikes, calibration)
        anywhere = _examined_all(site, weeks, ANYWHERE, lookalikes, calibration)
        tables.append((joined, _lines(joined, anywhere, calibration)))
    few_seeds = seeds[:few]
    return Evaluation(
        site=site.name,
        calibration=digest(calibration),
        seeds=(seeds.start, seeds.stop - 1),
        few_seeds=(few_seeds.start, few_seeds.stop - 1),
        with_lookalikes=tables[0][1],
        without=tables[1][1],
        settings=[_setting(site, elsewhere, few_seeds, what, calibration, progress) for what in SETTINGS],
        bands=_bands(tables[0][0]),
    )


def _examined_all(
    site: Site, weeks: Iterable[City], rules: JoinRules, lookalikes: int, calibration: Calibration
) -> list[Examined]:
    rules = structs.replace(rules, max_lookalikes=lookalikes)
    return [examine(site, week, rules, calibration) for week in weeks]


# --- rankings ---


def by_score(example: Example) -> float:
    """Rank by the score."""
    return example.incident.score


def by_nearness_in_time(example: Example) -> float:
    """Rank by how close to the shot the car was read."""
    return -min(abs(read.seconds_from_shot) for read in example.incident.sightings)


def unranked(_: Example) -> float:
    """All the same."""
    return 0.0


def _lines(joined: Sequence[Examined], anywhere: Sequence[Examined], calibration: Calibration) -> list[Line]:
    scored = [(by_score(example), example.linked) for examined in joined for example in examined.examples]
    to_find = sum(examined.to_find for examined in joined)

    def part(what: str, from_score: float) -> Line:
        return Line(what, quality([linked for told, linked in scored if told >= from_score], to_find), None, None)

    return [
        _line("any stolen car in the window", anywhere, unranked),
        structs.replace(
            _line("nearest in time, one a shot", anywhere, by_nearness_in_time),
            quality=quality(_nearest_of_each_shot(anywhere), to_find),
        ),
        _line("the join, unscored", joined, unranked),
        _line("the join, by score", joined, by_score),
        part("… medium or high", calibration.medium_from),
        part("… high", calibration.high_from),
    ]


def _line(what: str, weeks: Sequence[Examined], rank: Ranking) -> Line:
    rankings = [[(rank(example), example.linked) for example in week.examples] for week in weeks]
    to_find = [week.to_find for week in weeks]
    everything = [ranked for ranking in rankings for ranked in ranking]
    return Line(
        what,
        quality([linked for _, linked in everything], sum(to_find)),
        average_precision(everything, sum(to_find)),
        _error(rankings, to_find),
    )


def _error(rankings: Sequence[list[Ranked]], to_find: Sequence[int]) -> float:
    """The jackknife's standard error of the average precision."""
    weeks = range(len(rankings))
    without = [
        average_precision([r for m in weeks if m != n for r in rankings[m]], sum(to_find) - to_find[n]) for n in weeks
    ]
    mean = sum(without) / len(without)
    return sqrt((len(without) - 1) / len(without) * sum((one - mean) ** 2 for one in without))


def _nearest_of_each_shot(weeks: Iterable[Examined]) -> list[bool]:
    verdicts = []
    for week in weeks:
        by_shot = sorted(week.examples, key=lambda e: (e.incident.shot.alert_id, -by_nearness_in_time(e)))
        for _, cars in groupby(by_shot, key=lambda e: e.incident.shot.alert_id):
            verdicts.append(next(cars).linked)
    return verdicts


def _bands(weeks: Iterable[Examined]) -> list[Band]:
    bands = {tenth: [0, 0] for tenth in range(10)}
    for example in (example for week in weeks for example in week.examples):
        counts = bands[min(9, int(example.incident.score * 10))]
        counts[0] += 1
        counts[1] += example.linked
    return [Band(tenth / 10, named, right) for tenth, (named, right) in bands.items()]


# --- settings ---


class What(Struct, frozen=True):
    """A setting: a name, and what differs in the plan of the city, or that it is another city."""

    name: str
    changed: dict[str, float]
    usual: bool = False
    elsewhere: bool = False


_STALE: Final = {"list_refresh_h": 24.0, "still_listed_share": 0.3}
_ALL_FOUND: Final = {"recovered_share": 0.96, "kept_median_h": 10.0}
SETTINGS: Final = (
    What("as usual", {}, usual=True),
    What("misreads: none", {"misread_share": 0.0}),
    What("misreads: 10 % of the reads", {"misread_share": 0.1}),
    What("misreads: 20 %", {"misread_share": 0.2}),
    What("misreads: 40 %", {"misread_share": 0.4}),
    What("list: at once, and never stale", {"list_refresh_h": 0.0, "still_listed_share": 0.0}),
    What("list: copied daily, 30 % of the found cars left on it", _STALE),
    What("list: the same, most cars found within a day", _STALE | _ALL_FOUND),
    What("background: stolen cars pass by chance half as often", {"chance_reads_per_stolen_car_day": 2.0}),
    What("background: twice as often", {"chance_reads_per_stolen_car_day": 8.0}),
    What("background: four times as often", {"chance_reads_per_stolen_car_day": 16.0}),
    What("background: a twin for every stolen car", {"twins_per_stolen_car": 1.0}),
    What("background: four twins for each", {"twins_per_stolen_car": 4.0}),
    What("shootings with a stolen car: 10 %, not 30 %", {"linked_share": 0.1}),
    What("shootings with a stolen car: 3 %", {"linked_share": 0.03}),
    What("another city: Kansas City", {}, elsewhere=True),
)


def _setting(
    site: Site, elsewhere: Site, seeds: range, what: What, calibration: Calibration, progress: Progress
) -> Setting:
    progress(what.name)
    place = elsewhere if what.elsewhere else site
    weeks = [examine(place, world(place, seed, **what.changed), JOIN, calibration) for seed in seeds]
    examples = [example for week in weeks for example in week.examples]
    to_find = sum(week.to_find for week in weeks)
    high = [example.linked for example in examples if by_score(example) >= calibration.high_from]
    return Setting(
        what=what.name,
        usual=what.usual,
        to_find=to_find,
        unscored=quality([example.linked for example in examples], to_find),
        high=quality(high, to_find),
        unscored_average_precision=average_precision([(0.0, example.linked) for example in examples], to_find),
        average_precision=average_precision([(by_score(example), example.linked) for example in examples], to_find),
    )
