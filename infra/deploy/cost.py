"""What a project costs a month on a cloud, by list price and stated assumptions: an order of magnitude, not a bill.

Prices: the clouds' public lists for us-east-1, us-central1 and East US, in US dollars, without free tiers, read in
November 2026. Assumptions are beside their lines, and the pages of the clouds in docs/ show the same sums for 10, 100
and 1,000 alerts. What queries cost their sources is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from core.alert import schedule
from core.alert.timers import SWEEP

HOURS = 730
RUN_S = 1.0
"""A run as it is billed: a cold start and one query of some tenths of a second. Measure yours; it weighs most."""
SWEEP_S = 0.15
PER_ALERT_SWEPT_S = 0.004
"""A sweep looks at every alert: one read each."""
MEMORY_GB = 1.0
WRITES_PER_RUN, READS_PER_RUN = 6.0, 4.0
"""Claim, commit and release, the audit's intent and outcome; a message more where there is one."""
LOG_KB: Mapping[str, float] = {"aws": 2.0, "gcp": 2.0, "azure": 15.0}
"""A call, with what the platform itself logs of it."""
AZURE_GB, AZURE_LEAST_S = 2.0, 1.0
"""Flex Consumption has instances of 2 GB by default, and bills a second at least."""
_MOST = 200_000


@dataclass(frozen=True, slots=True)
class Line:
    """``dollars`` = ``quantity`` times ``price`` (dollars a ``unit``)."""

    what: str
    quantity: float
    unit: str
    price: float

    @property
    def dollars(self) -> float:
        return self.quantity * self.price


def runs_a_month(timers: Mapping[str, Mapping[str, Any]]) -> tuple[int, int]:
    """How often the timers of a manifest fire in 730 hours: (runs of alerts, sweeps)."""
    start = datetime(2027, 3, 1, tzinfo=UTC)
    until = start + timedelta(hours=HOURS)
    runs = sweeps = 0
    for name, timer in timers.items():
        slots = schedule.between(timer["cron"], timer["timezone"], start - timedelta(seconds=1), until)
        count = sum(1 for _ in islice(slots, _MOST))
        if name == SWEEP:
            sweeps += count
        else:
            runs += count
    return runs, sweeps


def monthly(cloud: str, *, alerts: int, runs: int, sweeps: int, secrets: int) -> list[Line]:
    """The lines of a month. ``alerts``: timers besides the sweep; ``runs`` and ``sweeps``: of ``runs_a_month``."""
    sweep_s = SWEEP_S + alerts * PER_ALERT_SWEPT_S
    seconds = runs * RUN_S + sweeps * sweep_s
    calls = runs + sweeps
    reads = runs * READS_PER_RUN + sweeps * (1 + alerts)
    writes = runs * WRITES_PER_RUN
    logs_gb = calls * LOG_KB[cloud] / 1e6
    lines: Iterable[Line]
    if cloud == "aws":
        lines = (
            Line("Lambda, time", seconds * MEMORY_GB, "GB-s", 0.0000166667),
            Line("Lambda, calls", calls / 1e6, "million", 0.20),
            Line("EventBridge Scheduler", calls / 1e6, "million", 1.00),
            Line("DynamoDB, writes", writes * 2 / 1e6, "million units, two a transactional write", 0.625),
            Line("DynamoDB, reads", reads / 1e6, "million units", 0.125),
            Line("CloudWatch Logs", logs_gb, "GB", 0.50),
            Line("Secrets Manager", secrets, "secret", 0.40),
            Line("Secrets Manager and KMS, reads", runs / 1e4 if secrets else 0, "10,000, one a run", 0.08),
            Line("KMS", 1, "key and its use by the services", 1.03),
            Line("CloudWatch alarms", 19, "alarm", 0.10),
            Line("CloudWatch metrics", 7, "metric", 0.30),
            Line("SQS", 0.65, "million, Lambda asks for jobs", 0.40),
        )
    elif cloud == "gcp":
        lines = (
            Line("Cloud Run functions, processor", seconds, "vCPU-s", 0.000024),
            Line("Cloud Run functions, memory", seconds * MEMORY_GB, "GiB-s", 0.0000025),
            Line("Cloud Run functions, calls", calls / 1e6, "million", 0.40),
            Line("Cloud Scheduler", alerts + 1, "job", 0.10),
            Line("Firestore, writes", writes / 1e5, "100,000", 0.09),
            Line("Firestore, reads", reads / 1e5, "100,000", 0.03),
            Line("Secret Manager", secrets, "secret version", 0.06),
            Line("Secret Manager, reads", runs * secrets / 1e4, "10,000, each secret at most once a run", 0.03),
            Line("Cloud KMS", 1, "key version", 0.06),
            Line("Cloud Logging", 2 * logs_gb, "GiB", 0.50),  # in the region's bucket, and in Google's own _Default
            Line("Artifact Registry", 1.5, "GB, three images", 0.10),
        )
    else:
        billed = runs * max(RUN_S, AZURE_LEAST_S) + sweeps * max(sweep_s, AZURE_LEAST_S)
        lines = (
            Line("Functions, time", billed * AZURE_GB, "GB-s", 0.000026),
            Line("Functions, calls", calls / 1e6, "million", 0.40),
            Line("Logic Apps", calls * 3 / 1e3, "1,000 actions, three a run", 0.025),
            Line("Table Storage", (reads + writes) / 1e4, "10,000 transactions", 0.00036),
            Line("Key Vault", (calls + runs * secrets) / 1e4, "10,000 operations", 0.03),
            Line("Monitor alarms", 1, "set of alarms", 5.10),
            Line("Log Analytics", logs_gb, "GB", 2.30),
        )
    return [line for line in lines if line.quantity > 0]


def total(lines: Iterable[Line]) -> float:
    return sum(line.dollars for line in lines)
