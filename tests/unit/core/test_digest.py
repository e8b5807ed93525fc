"""The digest: what changes it, and what does not."""

from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import Meta, Struct, defstruct

from streams.core.digest import schema_digest


class Base(Struct):
    """A record."""

    title: str
    count: Annotated[int, Meta(ge=0, description="how many")]


def variant(*fields: tuple[str, type]) -> type[Struct]:
    return defstruct("Base", fields)


REWORDED = variant(("title", str), ("count", Annotated[int, Meta(ge=0, description="otherwise worded")]))


def test_reworded_descriptions_leave_the_schema_digest():
    assert schema_digest(REWORDED) == schema_digest(Base)


@pytest.mark.parametrize(
    "other",
    [
        variant(("title", str), ("count", Annotated[int, Meta(ge=1)])),
        variant(("title", str), ("count", int)),
        variant(("title", str), ("count", Annotated[int, Meta(ge=0)]), ("more", int)),
        variant(("count", Annotated[int, Meta(ge=0)])),
        variant(("name", str), ("count", Annotated[int, Meta(ge=0)])),
    ],
)
def test_a_field_added_removed_renamed_or_bounded_otherwise_changes_the_schema_digest(other):
    assert schema_digest(other) != schema_digest(Base)


def test_a_nested_record_counts():
    def outer(inner: type[Struct]) -> type[Struct]:
        return defstruct("Outer", [("inner", inner)])

    assert schema_digest(outer(REWORDED)) == schema_digest(outer(Base))
    assert schema_digest(outer(variant(("title", str)))) != schema_digest(outer(Base))
