"""The figures in docs/aws.md follow from what they say they follow from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infra.deploy.test_cost import hourly
from tests.terraform.harness import MODULES, Values

DOCS = Path(__file__).parents[3] / "docs" / "aws.md"
SWEEPS = 43_800  # a month of minutes
RUNS = 730

COSTS: dict[str, Callable[[int], float]] = {
    "Lambda, GB-seconds": lambda n: (n * RUNS + SWEEPS * (0.15 + 0.004 * n)) * 0.0000166667,
    "Lambda, calls": lambda n: (n * RUNS + SWEEPS) / 1e6 * 0.20,
    "EventBridge Scheduler": lambda n: (n * RUNS + SWEEPS) / 1e6 * 1.00,
    "DynamoDB, writes": lambda n: n * RUNS * 12 / 1e6 * 0.625,
    "DynamoDB, reads": lambda n: (n * RUNS * 4 + SWEEPS * (1 + n)) / 1e6 * 0.125,
    "CloudWatch Logs": lambda n: (n * RUNS + SWEEPS) * 2e-6 * 0.50,
    "Secrets Manager": lambda n: 3 * 0.40 + n * RUNS / 1e4 * 0.08,
    "KMS": lambda n: 1 + SWEEPS * 0.2 / 1e4 * 0.03,
    "CloudWatch alarms, metrics": lambda n: 19 * 0.10 + 7 * 0.30,
    "SQS": lambda n: 0.65 * 0.40,
}


def test_the_table_of_costs_is_what_its_formulas_give() -> None:
    rows = dict(re.findall(r"(?m)^\| \**([\w ,-]+?)\** +\|((?: \**[\d.,]+\** \|){3})", DOCS.read_text("utf-8")))
    told = {
        name: [float(one.replace(",", "")) for one in re.findall(r"[\d.,]+", cells)] for name, cells in rows.items()
    }
    for name, cost in COSTS.items():
        assert told[name] == pytest.approx([cost(n) for n in (10, 100, 1_000)], abs=0.006), name
    together = [sum(cost(n) for cost in COSTS.values()) for n in (10, 100, 1_000)]
    assert told["together"] == pytest.approx(together, abs=0.006)


def test_the_alarms_that_are_paid_are_those_that_there_are(applied: Values) -> None:
    from tests.terraform.aws.test_module import MISTAKES

    text = DOCS.read_text("utf-8")
    alarms = len(applied.resources("aws_cloudwatch_metric_alarm"))
    assert f"{alarms} alarms at 0.10" in text
    assert [line.quantity for line in hourly("aws", 10) if line.what == "CloudWatch alarms"] == [alarms]
    assert len(MISTAKES) >= 40
    assert "40 deliberate mistakes" in text


def test_every_file_that_the_page_leads_to_is_there() -> None:
    for page in (DOCS, MODULES / "aws" / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), link
