"""Kansas City's activations: every row becomes an alert or an invalid row with its reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.importers.kansas_city import (
    COLUMNS,
    Activations,
    ActivationsError,
    RowCounts,
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


def invalid_reason(row: str) -> str:
    activations = read(row)
    assert activations.alerts == []
    assert [invalid.row for invalid in activations.invalid_rows] == [2]
    return activations.invalid_rows[0].reason


@pytest.fixture(scope="module")
def whole() -> Activations:
    if not WHOLE.exists():
        pytest.skip(f"the activations are not beside the checkout: {WHOLE}")
    return load_activations(WHOLE)


def test_a_row_becomes_an_alert_in_its_json_form() -> None:
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


def test_an_ambiguous_local_time_becomes_the_earlier_one_and_is_listed() -> None:
    activations = read(ROW.replace("7/4/2020,21:05:09", "11/1/2020,1:22:13"))
    assert activations.alerts[0]["occurred_at_ms"] == at(2020, 11, 1, 6, 22, 13)
    assert activations.ambiguous_times == [2]
    assert activations.skipped_times == []


def test_a_skipped_local_time_becomes_an_hour_later_and_is_listed() -> None:
    activations = read(ROW.replace("7/4/2020,21:05:09", "3/8/2020,2:30:00"))
    assert activations.alerts[0]["occurred_at_ms"] == at(2020, 3, 8, 8, 30, 0)  # 3:30 in summer time
    assert activations.skipped_times == [2]
    assert activations.ambiguous_times == []


@pytest.mark.parametrize("shifted", [ROW.replace("East,", ""), ROW.replace("East,", "") + ","])
def test_a_row_missing_only_its_district_is_repaired_and_listed(shifted: str) -> None:
    activations = read(shifted)
    assert activations.repaired == [2]
    assert activations.alerts == read(ROW).alerts


def test_a_row_with_an_empty_district_needs_no_repair() -> None:
    activations = read(ROW.replace("East", ""))
    assert (activations.imported, activations.repaired) == (1, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ROW.replace("Single Gunshot", "Fireworks"), 'type "Fireworks": expected one of Single Gunshot'),
        (ROW.replace("816-1,", ","), "Respond ID: empty"),
        (ROW.replace("7/4/2020", "2020-07-04"), '"2020-07-04 21:05:09": expected a time such as'),
        (ROW.replace("21:05:09", "21:05"), '"7/4/2020 21:05": expected a time such as'),
        (ROW.replace("7/4/2020", "2/30/2020"), '"2/30/2020 21:05:09": not in the calendar'),
        (ROW.replace("21:05:09", "24:00:00"), ": not in the calendar"),
        (ROW.replace("7/4/2020", "1/1/0000"), ": not in the calendar"),
        (ROW.replace("39.062", "93.062"), "latitude 93.062: not in Kansas City, 38.6 to 39.6"),
        (ROW.replace("-94.554", "94.554"), "longitude 94.554: not in Kansas City"),
        (ROW.replace("39.062", "nan"), 'latitude "nan": expected decimal degrees'),
        (ROW.replace("39.062", ""), 'latitude "": expected decimal degrees'),
        (ROW.replace("-94.554", "٣٩"), 'longitude "٣٩": expected decimal degrees'),
        ("Single Gunshot,816-1", "2 cells: expected 8"),
        (ROW + ",x", "9 cells: expected 8"),
        (ROW.replace(",39.062", ""), "7 cells: expected 8"),
        (ROW.replace("KansasCityMO,East,", ""), "6 cells: expected 8"),
    ],
)
def test_an_unusable_row_is_invalid_with_a_reason(row: str, reason: str) -> None:
    assert reason in invalid_reason(row)


def test_invalid_rows_are_counted_by_what_is_wrong_with_them() -> None:
    wrong = [
        ROW.replace("Single Gunshot", "Fireworks"),
        ROW.replace("816-1,", ","),
        ROW.replace("21:05:09", "21:05"),
        ROW.replace("7/4/2020", "2/30/2020"),
        ROW.replace("39.062", "93.062"),
        ROW.replace("39.062", "nan"),
        ROW + ",x",
    ]
    assert read(ROW, ROW, *wrong).rejected == {
        "repeated": 1,
        "type": 1,
        "id": 1,
        "time": 2,
        "place": 2,
        "cells": 1,
    }
    assert read(ROW).rejected == {}


def test_a_repeated_id_is_invalid_whatever_its_content() -> None:
    activations = read(ROW, ROW, ROW.replace("39.062", "39.063"))
    assert activations.imported == 1
    assert [(invalid.row, invalid.reason) for invalid in activations.invalid_rows] == [
        (3, "Respond ID 816-1: repeats row 2 with the same content"),
        (4, "Respond ID 816-1: repeats row 2 with another content"),
    ]


def test_an_invalid_row_does_not_reserve_its_id() -> None:
    activations = read(ROW.replace("39.062", "0.0"), ROW)
    assert [alert["lat"] for alert in activations.alerts] == [39.062]


def test_empty_lines_are_not_rows_but_count_in_the_row_numbers() -> None:
    activations = read("", ROW, "", ROW.replace("816-1,", ","))
    assert activations.rows == 2
    assert [invalid.row for invalid in activations.invalid_rows] == [5]


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    raw = b"\xef\xbb\xbf" + f"{HEADING}\r\n{ROW}\r\n".encode()
    assert read_activations(raw).alerts == read(ROW).alerts


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", ": empty file: expected CSV"),
        (b"\x89PNG\r\n\x1a\n\xff", ": not readable as a table"),
        (b'{"type": "FeatureCollection"}', 'begins with "{"type": "FeatureCollection"}": expected CSV'),
        (b"a,b,c\n1,2,3\n", 'begins with "a, b, c"'),
        (f"{HEADING}\n{'x' * 200_000}\n".encode(), ": not readable as a table"),
    ],
)
def test_a_file_in_another_format_is_an_error(raw: bytes, message: str) -> None:
    with pytest.raises(ActivationsError) as raised:
        read_activations(raw)
    assert message in str(raised.value)
    assert ": expected CSV in UTF-8 with the columns Type, " in str(raised.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ActivationsError, match=r"none.csv: cannot be read \(No such file or directory\); check the path"
    ):
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
def test_every_row_is_imported_or_invalid_once(table: list[list[str]]) -> None:
    activations = read(*(",".join(cells) for cells in table))
    assert activations.rows == len(table) == activations.imported + len(activations.invalid_rows)
    counts = activations.row_counts
    assert counts.rows == counts.imported + counts.invalid
    invalid = {row.row for row in activations.invalid_rows}
    assert len(invalid) == len(activations.invalid_rows)
    noted = {*activations.repaired, *activations.ambiguous_times, *activations.skipped_times}
    assert noted <= set(range(2, len(table) + 2)) - invalid


# ---- the real table


def test_every_real_row_is_accounted_for(whole: Activations) -> None:
    assert whole.row_counts == RowCounts(
        rows=9_649, imported=9_649, invalid=0, repaired=1, ambiguous_times=3, skipped_times=0
    )
    assert len({alert["alert_id"] for alert in whole.alerts}) == 9_649


def test_the_real_row_with_shifted_columns_is_repaired(whole: Activations) -> None:
    assert whole.repaired == [5135]
    repaired = next(alert for alert in whole.alerts if alert["alert_id"] == "816-137108")
    assert (repaired["lat"], repaired["lon"]) == (39.064, -94.559)
    assert repaired["occurred_at_ms"] == at(2019, 1, 23, 0, 14, 41)


def test_the_real_data_has_three_ambiguous_times(whole: Activations) -> None:
    assert whole.ambiguous_times == [6365, 8632, 8633]


def test_every_real_alert_is_in_a_zone_of_kansas_city(whole: Activations) -> None:
    site = load_site("kansas-city")
    zones = {site.zone_at(lat, lon) for lat, lon in {(alert["lat"], alert["lon"]) for alert in whole.alerts}}  # type: ignore[arg-type]
    assert "city" not in zones
    assert "ivanhoe-southeast" in zones


def test_the_report_can_be_printed_as_json(whole: Activations) -> None:
    assert msgspec.json.decode(msgspec.json.encode(whole.row_counts))["rows"] == 9_649


def test_the_sample_is_a_week_of_the_real_table() -> None:
    sample = resource_path("samples", "kansas-city-week.csv")
    activations = load_activations(sample)
    assert activations.row_counts == RowCounts(
        rows=64, imported=64, invalid=0, repaired=0, ambiguous_times=0, skipped_times=0
    )
    times = [alert["occurred_at_ms"] for alert in activations.alerts]
    assert at(2020, 10, 5, 5, 0, 0) <= min(times) <= max(times) < at(2020, 10, 12, 5, 0, 0)  # type: ignore[type-var,operator]
    assert {alert["kind"] for alert in activations.alerts} == {
        "single_gunshot",
        "multiple_gunshots",
        "probable_gunfire",
    }


def test_the_sample_contains_every_row_of_its_week(whole: Activations) -> None:
    sample = load_activations(resource_path("samples", "kansas-city-week.csv")).alerts
    first, last = sample[0]["occurred_at_ms"], sample[-1]["occurred_at_ms"]
    assert sample == [alert for alert in whole.alerts if first <= alert["occurred_at_ms"] <= last]  # type: ignore[operator]
