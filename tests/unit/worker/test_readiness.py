"""What a worker says of topics that it cannot use."""

from __future__ import annotations

import pytest

from streams.worker.readiness import topic_problem


def described(error_code: int, *leaders: int) -> dict[str, object]:
    return {"topic": "tallies", "error_code": error_code, "partitions": [{"leader": leader} for leader in leaders]}


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        (described(0, 1, 2, 1), ""),
        (described(0, 1, -1, -1), "tallies: 2 of 3 partitions have no leader"),
        (described(3), "tallies: does not exist; create it with rampwatch topics create"),
        (described(29), "tallies: the broker reports TopicAuthorizationFailedError"),
        (described(5), "tallies: the broker reports LeaderNotAvailableError"),
    ],
    ids=["well", "no leaders", "gone", "no right", "no leader yet"],
)
def test_a_problem_with_a_topic_is_a_sentence(topic: dict[str, object], problem: str) -> None:
    assert topic_problem(topic) == problem
