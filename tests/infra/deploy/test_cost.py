"""What a month costs: the sums that the documents show are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.contents import CLOUDS
from infra.deploy.cost import HOURS, Line, monthly, runs_a_month, total

DOCS = Path(__file__).parent.parent.parent.parent / "docs"


def hourly(cloud: str, alerts: int) -> list[Line]:
    """So many alerts that run every hour, with three secrets: what the documents show."""
    return monthly(cloud, alerts=alerts, runs=alerts * HOURS, sweeps=60 * HOURS, secrets=3)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_documents_show_what_is_computed(cloud: str) -> None:
    row = re.search(r"(?m)^\| \*\*together\*\*(.*)$", (DOCS / f"{cloud}.md").read_text("utf-8"))
    assert row
    shown = [float(text) for text in re.findall(r"\*\*([0-9.]+)\*\*", row[1])]
    assert shown == pytest.approx([total(hourly(cloud, alerts)) for alerts in (10, 100, 1_000)], abs=0.05)


@pytest.mark.parametrize(
    ("cron", "zone", "runs"),
    [
        ("0 * * * *", "UTC", HOURS),
        ("*/5 * * * *", "UTC", HOURS * 12),
        ("0 9 * * *", "Europe/Berlin", 31),
        ("@yearly", "UTC", 0),
    ],
)
def test_runs_are_counted(cron: str, zone: str, runs: int) -> None:
    sweep = {"cron": "* * * * *", "timezone": "UTC"}
    assert runs_a_month({"a": {"cron": cron, "timezone": zone}, "sweep": sweep}) == (runs, HOURS * 60)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_more_costs_more_and_nothing_costs_little(cloud: str) -> None:
    sums = [total(monthly(cloud, alerts=n, runs=n * 100, sweeps=43_800, secrets=n)) for n in (0, 1, 10, 100)]
    assert sums == sorted(sums) and sums[0] < 15
