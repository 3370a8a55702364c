"""What policies decide, and that only the gate lets anything through."""

from __future__ import annotations

import pytest

from core.model import EVERY_ROW, AllOf, AnyOf, Column, Compare, Principal, Scan, Table
from core.policy import gate
from core.policy.grants import Decision, Mask, MaskRule, RowRule, TablePolicy, decide, reaches

ANN = Principal("ann", frozenset({"viewer"}), ("a", "b"), attributes={"level": 3})
TABLE = Table("shop", "people", (Column("id", "BIGINT", {"=": "exact"}), Column("team", "VARCHAR", {"=": "exact"}),
                                 Column("_raw", "JSON", hidden=True)))  # fmt: skip


def policy(*rows: RowRule, table: str = "shop.people", masks: tuple[MaskRule, ...] = ()) -> TablePolicy:
    return TablePolicy(table, rows, masks)


def test_nothing_is_visible_without_a_policy() -> None:
    assert decide([], "shop.people", ANN) is None
    assert decide([policy(RowRule(), table="shop.other")], "shop.people", ANN) is None
    assert decide([policy()], "shop.people", ANN) is None
    assert decide([policy(RowRule(frozenset({"admin"})))], "shop.people", ANN) is None


@pytest.mark.parametrize("table", ["shop.people", "SHOP.People", "shop.*", "*"])
def test_patterns(table: str) -> None:
    assert decide([policy(RowRule(), table=table)], "shop.people", ANN) == Decision(EVERY_ROW, {})


@pytest.mark.parametrize("pattern", [
    "*", "shop.*", "SHOP.people", "s*", "s*p.people", "*.people", "*people", "sh?p.*", "[st]hop.people", "shop.p*",
    "shopper.*", "sho.*", "crm.*", "shop", "p*", "*p.p*",
])  # fmt: skip
def test_a_source_is_heard_of_where_a_policy_may_show_something_of_it(pattern: str) -> None:
    found = [policy(RowRule(), table=pattern)]
    for full_name in ("shop.people", "shop.public.people", "shopper.x", "crm.people", "sho.p"):
        if decide(found, full_name, ANN) is not None:
            assert reaches(found, full_name.partition(".")[0], ANN)
    assert not reaches([policy(table=pattern)], "shop", ANN)
    assert not reaches([policy(RowRule(frozenset({"admin"})), table=pattern)], "shop", ANN)


@pytest.mark.parametrize("pattern", ["crm.*", "shopper.*", "sho.*", "s.people", "p*"])
def test_of_other_sources_nothing_is_heard(pattern: str) -> None:
    assert not reaches([policy(RowRule(), table=pattern)], "shop", ANN)


def test_rules_are_alternatives_and_conditions_add_up() -> None:
    rules = (
        RowRule(where=(("team", "in", "$user.teams"), ("id", ">", 3))),
        RowRule(frozenset({"viewer"}), (("name", "=", "$user.name"),)),
    )
    decision = decide([policy(*rules)], "shop.people", ANN)
    assert decision is not None
    assert decision.rows == AnyOf(
        (AllOf((Compare("team", "in", ("a", "b")), Compare("id", ">", 3))), Compare("name", "=", "ann"))
    )


def test_an_attribute_that_is_not_there_lets_nothing_in() -> None:
    assert decide([policy(RowRule(where=(("region", "=", "$user.region"),)))], "shop.people", ANN) is None
    found = decide([policy(RowRule(where=(("level", "<=", "$user.level"),)))], "shop.people", ANN)
    assert found is not None
    assert found.rows == Compare("level", "<=", 3)


def test_the_stronger_mask_wins() -> None:
    weak = policy(RowRule(), masks=(MaskRule("id", Mask("bucket", 10)), MaskRule("Team", Mask("deny"))))
    strong = policy(RowRule(), table="*", masks=(MaskRule("id", Mask("null")), MaskRule("team", Mask("hash"))))
    for order in ([weak, strong], [strong, weak]):
        decision = decide(order, "shop.people", ANN)
        assert decision is not None
        assert {c: m.kind for c, m in decision.masks.items()} == {"id": "null", "team": "deny"}


def test_unless_roles_lifts_a_mask() -> None:
    rule = MaskRule("id", Mask("null"), frozenset({"viewer"}))
    decision = decide([policy(RowRule(), masks=(rule,))], "shop.people", ANN)
    assert decision is not None
    assert decision.masks == {}


def visible(decision: Decision) -> gate.Visible:
    return gate.Visible(gate._as_seen(TABLE, decision), TABLE, decision)


def test_a_masked_column_narrows_nothing_and_takes_the_raw_document_with_it() -> None:
    seen = visible(Decision(EVERY_ROW, {"team": Mask("hash")})).table
    assert [c.name for c in seen.columns] == ["id", "team"]
    assert seen.columns[1].operators == {}
    assert seen.columns[0].operators == {"=": "exact"}


def test_a_permit_cannot_be_forged() -> None:
    with pytest.raises(TypeError, match=r"gate\.permit"):
        gate.Permit(ANN, (), (), frozenset())


def planned(decision: Decision, *narrow: Compare, limit: int | None = None) -> gate.PlannedScan:
    seen = visible(decision)
    return gate.PlannedScan(Scan("t0", seen.table, ("id",), narrow, limit), seen)


def test_the_limit_stays_where_rows_are_filtered_behind_it() -> None:
    assert gate.permit([planned(Decision(), limit=5)], ANN).scans[0].scan.limit == 5
    assert gate.permit([planned(Decision(Compare("team", "=", "a")), limit=5)], ANN).scans[0].scan.limit is None


def test_a_filter_brings_its_columns() -> None:
    scan = gate.permit([planned(Decision(Compare("team", "=", "a")))], ANN).scans[0].scan
    assert scan.columns == ("id", "team")


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (Compare("team", "=", "a"), ("a",)),
        (Compare("team", "in", ("a", "c")), ("a",)),
        (Compare("team", "!=", "a"), ("b",)),
        (Compare("team", "starts with", "b"), ("b",)),
        (AnyOf((Compare("team", "=", "b"), Compare("id", "=", 1))), ("a", "b")),
        (AllOf((Compare("team", "=", "b"), Compare("id", "=", 1))), ("b",)),
        (AnyOf(), ()),
    ],
)
def test_a_source_is_never_asked_for_what_is_hidden(rows: object, kept: tuple[str, ...]) -> None:
    """Else "not found" and "found, but filtered" would differ."""
    narrow = Compare("team", "in", ("a", "b"))
    scan = gate.permit([planned(Decision(rows), narrow)], ANN).scans[0].scan
    assert scan.narrow[0].value == kept


def test_denied_columns_cannot_be_planned() -> None:
    decision = Decision(EVERY_ROW, {"id": Mask("deny")})
    from core.errors import EntitlementDenied

    seen = visible(decision)
    with pytest.raises(EntitlementDenied):
        gate.permit([gate.PlannedScan(Scan("t0", seen.table, ("id",)), seen)], ANN)
