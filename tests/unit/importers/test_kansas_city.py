"""Kansas City's activations: every row becomes an alert or is refused with its reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.importers.kansas_city import (
    COLUMNS,
    Accounted,
    Activations,
    ActivationsError,
    load_activations,
    read_activations,
)
from streams.resources.paths import resource_path
from streams.resources.sites import load_site
from tests.paths import SHARED

WHOLE = SHARED / "data" / "kansas-city" / "activations.csv"
HEADING = ",".join(COLUMNS)
ROW = "Single Gunshot,816-1,7/4/2020,21:05:09,KansasCityMO,East,39.062,-94.554"


def read(*rows: str) -> Activations:
    return read_activations("\n".join([HEADING, *rows, ""]).encode())


def at(*fields: int) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]


def refused_with(row: str) -> str:
    activations = read(row)
    assert activations.alerts == []
    assert [refused.row for refused in activations.refused] == [2]
    return activations.refused[0].reason


@pytest.fixture(scope="module")
def whole() -> Activations:
    if not WHOLE.exists():
        pytest.skip(f"the activations are not beside the checkout: {WHOLE}")
    return load_activations(WHOLE)


def test_a_row_becomes_an_alert_as_on_the_wire() -> None:
    assert read(ROW).alerts == [
        {
            "alert_id": "816-1",
            "revision": 0,
            "status": "unreviewed",
            "kind": "single_gunshot",
            "occurred_at_ms": at(2020, 7, 5, 2, 5, 9),  # UTC is five hours ahead in summer
            "lat": 39.062,
            "lon": -94.554,
            "uncertainty_m": 100,
            "source": "kansas-city-activations",
        }
    ]


def test_each_type_has_its_kind() -> None:
    kinds = {
        "Single Gunshot": "single_gunshot",
        "Multiple Gunshots": "multiple_gunshots",
        "Probable Gunfire": "probable_gunfire",
    }
    for type_, kind in kinds.items():
        assert read(ROW.replace("Single Gunshot", type_)).alerts[0]["kind"] == kind


def test_alerts_are_sorted_by_time_and_then_id() -> None:
    rows = [
        ROW.replace("816-1,", f"816-{n},").replace("21:05:09", time)
        for n, time in [(5, "21:05:09"), (3, "21:05:09"), (4, "21:05:08")]
    ]
    assert [alert["alert_id"] for alert in read(*rows).alerts] == ["816-4", "816-3", "816-5"]


def test_a_local_time_that_happens_twice_is_the_earlier_one_and_listed() -> None:
    activations = read(ROW.replace("7/4/2020,21:05:09", "11/1/2020,1:22:13"))
    assert activations.alerts[0]["occurred_at_ms"] == at(2020, 11, 1, 6, 22, 13)
    assert activations.ambiguous_times == [2]
    assert activations.skipped_times == []


def test_a_local_time_that_never_happens_comes_out_an_hour_later_and_is_listed() -> None:
    activations = read(ROW.replace("7/4/2020,21:05:09", "3/8/2020,2:30:00"))
    assert activations.alerts[0]["occurred_at_ms"] == at(2020, 3, 8, 8, 30, 0)  # 3:30 in summer time
    assert activations.skipped_times == [2]
    assert activations.ambiguous_times == []


@pytest.mark.parametrize("shifted", [ROW.replace("East,", ""), ROW.replace("East,", "") + ","])
def test_a_row_that_lacks_only_its_district_is_repaired_and_listed(shifted: str) -> None:
    activations = read(shifted)
    assert activations.repaired == [2]
    assert activations.alerts == read(ROW).alerts


def test_a_row_with_an_empty_district_needs_no_repair() -> None:
    activations = read(ROW.replace("East", ""))
    assert (activations.imported, activations.repaired) == (1, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ROW.replace("Single Gunshot", "Fireworks"), 'the type "Fireworks" is none of Single Gunshot'),
        (ROW.replace("816-1,", ","), "the Respond ID is empty"),
        (ROW.replace("7/4/2020", "2020-07-04"), '"2020-07-04 21:05:09" is no time such as'),
        (ROW.replace("21:05:09", "21:05"), '"7/4/2020 21:05" is no time such as'),
        (ROW.replace("7/4/2020", "2/30/2020"), '"2/30/2020 21:05:09" is no time of the calendar'),
        (ROW.replace("21:05:09", "24:00:00"), "is no time of the calendar"),
        (ROW.replace("7/4/2020", "1/1/0000"), "is no time of the calendar"),
        (ROW.replace("39.062", "93.062"), "the latitude 93.062 is not in Kansas City, 38.6 to 39.6"),
        (ROW.replace("-94.554", "94.554"), "the longitude 94.554 is not in Kansas City"),
        (ROW.replace("39.062", "nan"), 'the latitude "nan" is no number of degrees'),
        (ROW.replace("39.062", ""), 'the latitude "" is no number of degrees'),
        (ROW.replace("-94.554", "٣٩"), 'the longitude "٣٩" is no number of degrees'),
        ("Single Gunshot,816-1", "it has 2 cells where 8 belong"),
        (ROW + ",x", "it has 9 cells where 8 belong"),
        (ROW.replace(",39.062", ""), "it has 7 cells where 8 belong"),
        (ROW.replace("KansasCityMO,East,", ""), "it has 6 cells where 8 belong"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_reason(row: str, reason: str) -> None:
    assert reason in refused_with(row)


def test_a_repeated_id_is_refused_whether_or_not_it_says_the_same() -> None:
    activations = read(ROW, ROW, ROW.replace("39.062", "39.063"))
    assert activations.imported == 1
    assert [(refused.row, refused.reason) for refused in activations.refused] == [
        (3, "it repeats the Respond ID 816-1 of row 2 and says the same"),
        (4, "it repeats the Respond ID 816-1 of row 2 but says something else"),
    ]


def test_a_refused_row_does_not_take_its_id() -> None:
    activations = read(ROW.replace("39.062", "0.0"), ROW)
    assert [alert["lat"] for alert in activations.alerts] == [39.062]


def test_empty_lines_are_no_rows_but_count_in_the_numbering() -> None:
    activations = read("", ROW, "", ROW.replace("816-1,", ","))
    assert activations.rows == 2
    assert [refused.row for refused in activations.refused] == [5]


def test_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    raw = b"\xef\xbb\xbf" + f"{HEADING}\r\n{ROW}\r\n".encode()
    assert read_activations(raw).alerts == read(ROW).alerts


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "are an empty file: expected CSV"),
        (b"\x89PNG\r\n\x1a\n\xff", "are not readable as a table"),
        (b'{"type": "FeatureCollection"}', 'begin with "{"type": "FeatureCollection"}": expected CSV'),
        (b"a,b,c\n1,2,3\n", 'begin with "a, b, c"'),
        (f"{HEADING}\n{'x' * 200_000}\n".encode(), "are not readable as a table"),
    ],
)
def test_another_file_is_refused_in_a_sentence(raw: bytes, message: str) -> None:
    with pytest.raises(ActivationsError) as refused:
        read_activations(raw)
    assert message in str(refused.value)
    assert str(refused.value).endswith("name that file.")


def test_a_missing_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ActivationsError, match=r"cannot be read \(No such file or directory\): check the path"):
        load_activations(tmp_path / "none.csv")


CELLS = [
    st.sampled_from(["Single Gunshot", "Probable Gunfire", "x", ""]),
    st.sampled_from(["816-1", "816-2", "816-3", ""]),
    st.sampled_from(["11/1/2020", "3/8/2020", "13/1/2020", "1/1/1"]),
    st.sampled_from(["1:30:00", "2:30:00", "25:00:00"]),
    st.just("KansasCityMO"),
    st.sampled_from(["East", "", "39.05"]),
    st.sampled_from(["39.05", "-94.55", "0", "x"]),
    st.sampled_from(["-94.55", "94.55", "", "x"]),
]


@given(st.lists(st.tuples(*CELLS).map(list).flatmap(lambda cells: st.sampled_from([cells, cells[:-1], cells[1:]]))))
def test_every_row_is_imported_or_refused_once(table: list[list[str]]) -> None:
    activations = read(*(",".join(cells) for cells in table))
    assert activations.rows == len(table) == activations.imported + len(activations.refused)
    counts = activations.accounted
    assert counts.rows == counts.imported + counts.refused
    refused = {row.row for row in activations.refused}
    assert len(refused) == len(activations.refused)
    remarked = {*activations.repaired, *activations.ambiguous_times, *activations.skipped_times}
    assert remarked <= set(range(2, len(table) + 2)) - refused


# ---- the real table


def test_each_of_the_real_rows_is_accounted_for(whole: Activations) -> None:
    assert whole.accounted == Accounted(
        rows=9_649, imported=9_649, refused=0, repaired=1, ambiguous_times=3, skipped_times=0
    )
    assert len({alert["alert_id"] for alert in whole.alerts}) == 9_649


def test_the_real_row_with_shifted_columns_is_repaired(whole: Activations) -> None:
    assert whole.repaired == [5135]
    repaired = next(alert for alert in whole.alerts if alert["alert_id"] == "816-137108")
    assert (repaired["lat"], repaired["lon"]) == (39.064, -94.559)
    assert repaired["occurred_at_ms"] == at(2019, 1, 23, 0, 14, 41)


def test_the_real_times_that_happened_twice_are_the_three_of_two_autumns(whole: Activations) -> None:
    assert whole.ambiguous_times == [6365, 8632, 8633]


def test_the_real_alerts_lie_in_kansas_citys_zones(whole: Activations) -> None:
    site = load_site("kansas-city")
    zones = {site.zone_at(lat, lon) for lat, lon in {(alert["lat"], alert["lon"]) for alert in whole.alerts}}  # type: ignore[arg-type]
    assert "city" not in zones
    assert "ivanhoe-southeast" in zones


def test_the_report_can_be_printed_as_json(whole: Activations) -> None:
    assert msgspec.json.decode(msgspec.json.encode(whole.accounted))["rows"] == 9_649


def test_the_sample_is_a_week_of_the_real_table() -> None:
    sample = resource_path("samples", "kansas-city-week.csv")
    activations = load_activations(sample)
    assert activations.accounted == Accounted(
        rows=64, imported=64, refused=0, repaired=0, ambiguous_times=0, skipped_times=0
    )
    times = [alert["occurred_at_ms"] for alert in activations.alerts]
    assert at(2020, 10, 5, 5, 0, 0) <= min(times) <= max(times) < at(2020, 10, 12, 5, 0, 0)  # type: ignore[type-var,operator]
    assert {alert["kind"] for alert in activations.alerts} == {
        "single_gunshot",
        "multiple_gunshots",
        "probable_gunfire",
    }


def test_the_sample_leaves_out_no_row_of_its_week(whole: Activations) -> None:
    sample = load_activations(resource_path("samples", "kansas-city-week.csv")).alerts
    first, last = sample[0]["occurred_at_ms"], sample[-1]["occurred_at_ms"]
    assert sample == [alert for alert in whole.alerts if first <= alert["occurred_at_ms"] <= last]  # type: ignore[operator]
