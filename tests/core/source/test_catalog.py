"""Finding tables by name, over sources of which some may be down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core.deadline import Deadline
from core.errors import SourceError
from core.model import EVERY_ROW, Column, Compare, Condition, Table
from core.source.catalog import Catalog

NOW = Deadline(5)


class Plain:
    """A source with these tables; ``down`` makes every question fail."""

    connector = kind = "plain"

    def __init__(self, name: str, *tables: str) -> None:
        self.name, self.tables, self.down, self.asked = name, list(tables), False, 0

    def table_names(self, deadline: Deadline) -> Sequence[str]:
        self.asked += 1
        if self.down:
            raise SourceError(f"{self.name} is down")
        return self.tables

    def table(self, name: str, deadline: Deadline) -> Table | None:
        found = next((t for t in self.table_names(deadline) if t.lower() == name.lower()), None)
        return Table(self.name, found, (Column("id", "BIGINT"),)) if found else None

    def open(self, *_: Any) -> Any:
        raise NotImplementedError


def test_names_are_found_in_any_case() -> None:
    catalog = Catalog({"Shop": Plain("Shop", "Orders"), "crm": Plain("crm", "people", "orders")})
    found = catalog.table("SHOP", "ORDERS", NOW)
    assert found is not None and found.full_name == "Shop.Orders"
    assert catalog.table("shop", "nowhere", NOW) is None and catalog.table("nowhere", "orders", NOW) is None
    assert catalog.sources_with("ORDERS", NOW, list(catalog.sources)) == ["Shop", "crm"]
    assert (
        catalog.sources_with("People", NOW, list(catalog.sources)) == ["crm"]
        and catalog.sources_with("x", NOW, list(catalog.sources)) == []
    )
    assert list(catalog.names("CRM", NOW)) == ["people", "orders"] and catalog.names("nowhere", NOW) == ()


def test_a_source_that_is_down_matters_only_while_the_name_is_not_found() -> None:
    down = Plain("down", "other")
    down.down = True
    catalog = Catalog({"down": down, "shop": Plain("shop", "orders")})
    assert catalog.sources_with("orders", NOW, list(catalog.sources)) == ["shop"]
    with pytest.raises(SourceError, match="down is down"):
        catalog.sources_with("people", NOW, list(catalog.sources))
    assert catalog.sources_with("people", NOW, ["shop"]) == [], "nobody asked about that one"
    with pytest.raises(SourceError):
        catalog.table("down", "other", NOW)


def test_answers_are_remembered_for_a_while_but_absence_is_not() -> None:
    clock = [0.0]
    shop = Plain("shop", "orders")
    catalog = Catalog({"shop": shop}, ttl_s=60, monotonic=lambda: clock[0])
    for _ in range(3):
        assert catalog.table("shop", "orders", NOW) and catalog.sources_with("orders", NOW, list(catalog.sources))
    assert shop.asked == 2
    assert catalog.table("shop", "late", NOW) is None
    shop.tables.append("late")
    assert catalog.table("shop", "late", NOW) is not None
    clock[0] = 61
    assert catalog.sources_with("late", NOW, list(catalog.sources)) == ["shop"]
    shop.tables.remove("orders")
    clock[0] = 200
    assert catalog.table("shop", "orders", NOW) is None
    shop.tables.append("orders")
    catalog.forget()
    assert catalog.sources_with("orders", NOW, list(catalog.sources)) == ["shop"]


class ByRows(Plain):
    """Its columns depend on who asks."""

    def table_for(self, name: str, rows: Condition, deadline: Deadline) -> Table | None:
        self.asked += 1
        return Table(self.name, name, (Column(repr(rows), "BIGINT"),)) if name in self.tables else None


def test_a_table_for_some_rows_is_remembered_for_these_rows() -> None:
    clock = [0.0]
    desk = ByRows("desk", "notes")
    catalog = Catalog({"desk": desk, "shop": Plain("shop", "orders")}, ttl_s=60, monotonic=lambda: clock[0])
    a, b = Compare("team", "=", "a"), Compare("team", "=", "b")
    for _ in range(2):
        for rows in (a, b):
            found = catalog.table_for("DESK", "notes", rows, NOW)
            assert found is not None and found.columns[0].name == repr(rows)
    assert desk.asked == 2
    assert catalog.table_for("desk", "notes", EVERY_ROW, NOW) == catalog.table("desk", "notes", NOW)
    assert catalog.table_for("shop", "orders", a, NOW) == catalog.table("shop", "orders", NOW)
    assert catalog.table_for("desk", "gone", a, NOW) is None and catalog.table_for("gone", "x", a, NOW) is None
    before = desk.asked
    clock[0] = 61
    catalog.table_for("desk", "notes", a, NOW)
    catalog.forget()
    catalog.table_for("desk", "notes", a, NOW)
    assert desk.asked == before + 2
