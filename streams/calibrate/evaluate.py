"""``rampwatch evaluate``: compares the score with simpler rankings on held-out simulated weeks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from math import sqrt
from typing import Final, TypeVar

from msgspec import Struct, structs

from streams.calibrate.examples import ANYWHERE, Example, LabelledWeek, label_week, simulate_week
from streams.calibrate.measure import Quality, Ranked, average_precision, quality
from streams.console.screen import Report
from streams.core.rules import JoinRules
from streams.core.scoring import Calibration
from streams.core.site import Site
from streams.resources.calibration import digest
from streams.simulate.city import City

JOIN: Final = JoinRules()


class RankingResult(Struct, frozen=True):
    """The quality of a ranking, or of its part above a threshold of strength.

    ``average_precision`` and ``error`` are None for such a part.
    """

    name: str
    quality: Quality
    average_precision: float | None
    error: float | None
    """Standard error of the average precision, by a jackknife over weeks."""


class SettingResult(Struct, frozen=True):
    """The quality of the same score where the city differs from the one it was fitted to."""

    name: str
    is_default: bool
    true_links: int
    unscored: Quality
    high: Quality
    unscored_average_precision: float
    average_precision: float


class ScoreBand(Struct, frozen=True):
    """The number of incidents with scores from ``from_score`` to 0.1 more, and of true ones."""

    from_score: float
    incidents: int
    correct: int


class Evaluation(Struct, frozen=True):
    """The results of an evaluation."""

    site: str
    calibration: str
    """The digest of the evaluated calibration."""
    seeds: tuple[int, int]
    """First and last seed of the rankings and score bands."""
    setting_seeds: tuple[int, int]
    """First and last seed of the settings."""
    with_lookalikes: list[RankingResult]
    without_lookalikes: list[RankingResult]
    settings: list[SettingResult]
    bands: list[ScoreBand]
    """Score bands in the default setting, with lookalikes."""


_Item = TypeVar("_Item")
Ranking = Callable[[Example], float]


def evaluate(
    site: Site, other_site: Site, seeds: range, setting_weeks: int, calibration: Calibration, report: Report
) -> Evaluation:
    """Evaluate the rankings on one week per seed, and each setting on the first ``setting_weeks``.

    ``other_site`` is the site of the setting for another city.
    """
    steps = _Steps(report, len(seeds) * 5 + setting_weeks * len(SETTINGS))
    weeks = [simulate_week(site, seed) for seed in steps.over(seeds, "default setting")]
    tables = []
    for lookalikes in (1, 0):
        doing = f"rankings with {lookalikes} lookalikes"
        joined = _labelled(site, steps.over(weeks, doing), JOIN, lookalikes, calibration)
        anywhere = _labelled(site, steps.over(weeks, doing), ANYWHERE, lookalikes, calibration)
        tables.append((joined, _rankings(joined, anywhere, calibration)))
    setting_seeds = seeds[:setting_weeks]
    return Evaluation(
        site=site.name,
        calibration=digest(calibration),
        seeds=(seeds.start, seeds.stop - 1),
        setting_seeds=(setting_seeds.start, setting_seeds.stop - 1),
        with_lookalikes=tables[0][1],
        without_lookalikes=tables[1][1],
        settings=[
            _setting_result(setting, other_site if setting.other_site else site, setting_seeds, calibration, steps)
            for setting in SETTINGS
        ],
        bands=_bands(tables[0][0]),
    )


class _Steps:
    """Counts the weeks simulated or joined, and reports which share of all is done."""

    def __init__(self, report: Report, steps: int) -> None:
        self._report = report
        self._steps = steps
        self._done = 0

    def over(self, items: Sequence[_Item], doing: str) -> Iterator[_Item]:
        """Yield the items, each of which is one step."""
        for item in items:
            self._report(doing, self._done / self._steps)
            yield item
            self._done += 1


def _labelled(
    site: Site, weeks: Iterable[City], rules: JoinRules, lookalikes: int, calibration: Calibration
) -> list[LabelledWeek]:
    rules = structs.replace(rules, max_lookalikes=lookalikes)
    return [label_week(site, week, rules, calibration) for week in weeks]


# --- rankings ---


def by_score(example: Example) -> float:
    """Rank by the score."""
    return example.incident.score


def by_nearness_in_time(example: Example) -> float:
    """Rank by how close in time to the shot the car was read."""
    return -min(abs(read.seconds_from_shot) for read in example.incident.sightings)


def unranked(_: Example) -> float:
    """Give every incident the same rank."""
    return 0.0


def _rankings(
    joined: Sequence[LabelledWeek], anywhere: Sequence[LabelledWeek], calibration: Calibration
) -> list[RankingResult]:
    scored = [(by_score(example), example.linked) for week in joined for example in week.examples]
    true_links = sum(week.true_links for week in joined)

    def part(name: str, from_score: float) -> RankingResult:
        labels = [linked for score, linked in scored if score >= from_score]
        return RankingResult(name, quality(labels, true_links), None, None)

    return [
        _ranking_result("any stolen car in the window", anywhere, unranked),
        structs.replace(
            _ranking_result("nearest in time, one per shot", anywhere, by_nearness_in_time),
            quality=quality(_nearest_of_each_shot(anywhere), true_links),
        ),
        _ranking_result("the join, unscored", joined, unranked),
        _ranking_result("the join, by score", joined, by_score),
        part("… medium or high", calibration.medium_from),
        part("… high", calibration.high_from),
    ]


def _ranking_result(name: str, weeks: Sequence[LabelledWeek], rank: Ranking) -> RankingResult:
    rankings = [[(rank(example), example.linked) for example in week.examples] for week in weeks]
    true_links = [week.true_links for week in weeks]
    whole = [ranked for ranking in rankings for ranked in ranking]
    return RankingResult(
        name,
        quality([linked for _, linked in whole], sum(true_links)),
        average_precision(whole, sum(true_links)),
        _standard_error(rankings, true_links),
    )


def _standard_error(rankings: Sequence[list[Ranked]], true_links: Sequence[int]) -> float:
    """Return the standard error of the average precision, by a jackknife over weeks."""
    weeks = range(len(rankings))
    left_out = [
        average_precision([r for m in weeks if m != n for r in rankings[m]], sum(true_links) - true_links[n])
        for n in weeks
    ]
    mean = sum(left_out) / len(left_out)
    return sqrt((len(left_out) - 1) / len(left_out) * sum((value - mean) ** 2 for value in left_out))


def _nearest_of_each_shot(weeks: Iterable[LabelledWeek]) -> list[bool]:
    """Return, for each shot, whether the car read nearest in time is a true link."""
    labels = []
    for week in weeks:
        by_shot = sorted(week.examples, key=lambda e: (e.incident.shot.alert_id, -by_nearness_in_time(e)))
        for _, cars in groupby(by_shot, key=lambda e: e.incident.shot.alert_id):
            labels.append(next(cars).linked)
    return labels


def _bands(weeks: Iterable[LabelledWeek]) -> list[ScoreBand]:
    bands = {tenth: [0, 0] for tenth in range(10)}
    for example in (example for week in weeks for example in week.examples):
        counts = bands[min(9, int(example.incident.score * 10))]
        counts[0] += 1
        counts[1] += example.linked
    return [ScoreBand(tenth / 10, incidents, correct) for tenth, (incidents, correct) in bands.items()]


# --- settings ---


class Setting(Struct, frozen=True):
    """A variation of the simulated city: changed parameters of the plan, or another site."""

    name: str
    changes: dict[str, float]
    is_default: bool = False
    other_site: bool = False


_STALE_LIST: Final = {"list_refresh_h": 24.0, "still_listed_share": 0.3}
_FOUND_SOON: Final = {"recovered_share": 0.96, "kept_median_h": 10.0}
SETTINGS: Final = (
    Setting("default", {}, is_default=True),
    Setting("misreads: none", {"misread_share": 0.0}),
    Setting("misreads: 10 % of the reads", {"misread_share": 0.1}),
    Setting("misreads: 20 %", {"misread_share": 0.2}),
    Setting("misreads: 40 %", {"misread_share": 0.4}),
    Setting("list: immediate updates, never stale", {"list_refresh_h": 0.0, "still_listed_share": 0.0}),
    Setting("list: daily copies, 30 % of recovered cars stay listed", _STALE_LIST),
    Setting("list: the same, and most cars recovered within a day", _STALE_LIST | _FOUND_SOON),
    Setting("chance reads of stolen cars: half as many", {"chance_reads_per_stolen_car_day": 2.0}),
    Setting("chance reads: twice as many", {"chance_reads_per_stolen_car_day": 8.0}),
    Setting("chance reads: four times as many", {"chance_reads_per_stolen_car_day": 16.0}),
    Setting("lookalike plates: one per stolen car", {"twins_per_stolen_car": 1.0}),
    Setting("lookalike plates: four per stolen car", {"twins_per_stolen_car": 4.0}),
    Setting("shootings with a stolen car: 10 % instead of 30 %", {"linked_share": 0.1}),
    Setting("shootings with a stolen car: 3 %", {"linked_share": 0.03}),
    Setting("another city: Kansas City", {}, other_site=True),
)


def _setting_result(
    setting: Setting, site: Site, seeds: range, calibration: Calibration, steps: _Steps
) -> SettingResult:
    weeks = [
        label_week(site, simulate_week(site, seed, **setting.changes), JOIN, calibration)
        for seed in steps.over(seeds, setting.name)
    ]
    examples = [example for week in weeks for example in week.examples]
    true_links = sum(week.true_links for week in weeks)
    high = [example.linked for example in examples if by_score(example) >= calibration.high_from]
    ranking = [(by_score(example), example.linked) for example in examples]
    return SettingResult(
        name=setting.name,
        is_default=setting.is_default,
        true_links=true_links,
        unscored=quality([example.linked for example in examples], true_links),
        high=quality(high, true_links),
        unscored_average_precision=average_precision([(0.0, linked) for _, linked in ranking], true_links),
        average_precision=average_precision(ranking, true_links),
    )
