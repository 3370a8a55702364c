"""Logic Apps: what a workflow says, whose it is, and what is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from core.errors import ConfigInvalid, Error, RateLimitExhausted, SourceAuth, SourceError
from core.ports import Platform, Schedule, Scheduler
from core.settings import Settings
from handlers.azure.platform import platform
from handlers.azure.scheduler import MAX_NAME, workflow_name
from tests.runtimes.azure_arm import GROUP
from tests.runtimes.azure_cloud import AzureCloud

DAILY = Schedule("low-stock", "0 9 * * 1-5", "Europe/Berlin", {"alert": "low-stock"})


@pytest.fixture
def scheduler(cloud: AzureCloud, ports: Platform) -> Scheduler:
    cloud.arm.workflows.clear()
    assert ports.scheduler is not None
    return ports.scheduler


def only(cloud: AzureCloud) -> dict[str, Any]:
    (found,) = cloud.arm.workflows.values()
    return found


def test_a_workflow_calls_watch_with_the_slot_and_a_key_that_nobody_sees(
    cloud: AzureCloud, scheduler: Scheduler
) -> None:
    scheduler.upsert(DAILY)
    made = only(cloud)
    definition = made["properties"]["definition"]
    assert definition["triggers"]["schedule"]["recurrence"] == {
        "frequency": "Week", "interval": 1, "startTime": "2020-01-01T00:00:00", "timeZone": "W. Europe Standard Time",
        "schedule": {"hours": [9], "minutes": [0],
                     "weekDays": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]},
    }  # fmt: skip
    key, watch = definition["actions"]["key"], definition["actions"]["watch"]
    assert key["inputs"]["uri"].startswith("https://omni-keys.vault.azure.net/secrets/host--functionKey--default?")
    assert key["inputs"]["authentication"]["audience"] == "https://vault.azure.net"
    assert key["runtimeConfiguration"]["secureData"]["properties"] == ["outputs"]
    assert watch["runtimeConfiguration"]["secureData"]["properties"] == ["inputs"]
    assert watch["runAfter"] == {"key": ["Succeeded"]}
    assert watch["inputs"]["body"]["alert"] == "low-stock"
    assert re.fullmatch(r"@formatDateTime\(coalesce\(trigger\(\).*:00Z'\)", watch["inputs"]["body"]["scheduled_at"])
    (identity,) = made["identity"]["userAssignedIdentities"]
    assert identity == key["inputs"]["authentication"]["identity"]


def test_what_looks_like_code_is_sent_as_it_is(cloud: AzureCloud, scheduler: Scheduler) -> None:
    for name, written in (("@now()", "@@now()"), ("a@{now()}", "a@@{now()}"), ("a@b", "a@b")):
        cloud.arm.workflows.clear()
        scheduler.upsert(Schedule(name, "0 9 * * *", "UTC", {"alert": name}))
        body = only(cloud)["properties"]["definition"]["actions"]["watch"]["inputs"]["body"]
        assert body["alert"] == written
        assert [s.payload for s in scheduler.list()] == [{"alert": name}]


def test_names_fit_and_deployments_do_not_meet() -> None:
    found = [
        workflow_name(d, t) for d in ("omni", "omni-a", "o" * 24) for t in ("b", "a-b", "t" * 50, "T" * 50, "sweep")
    ]
    assert len(set(found)) == len(found)
    assert all(len(n) <= MAX_NAME and re.fullmatch(r"[a-z0-9-]+", n) for n in found)


def test_a_timer_changed_by_hand_shows_what_it_does_now(cloud: AzureCloud, scheduler: Scheduler) -> None:
    scheduler.upsert(DAILY)
    only(cloud)["properties"]["definition"]["triggers"]["schedule"]["recurrence"]["schedule"]["hours"] = [7]
    (found,) = scheduler.list()
    assert (found.name, found.timezone, found.payload) == (DAILY.name, DAILY.timezone, DAILY.payload)
    assert json.loads(found.cron)["schedule"]["hours"] == [7]


def test_a_timer_that_fires_when_saved_is_shown_as_changed_and_a_start_in_other_words_is_not(
    cloud: AzureCloud, scheduler: Scheduler
) -> None:
    scheduler.upsert(DAILY)
    recurrence = only(cloud)["properties"]["definition"]["triggers"]["schedule"]["recurrence"]
    for same in ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z", "2020-01-01T00:00:00.0000000"):
        recurrence["startTime"] = same
        assert list(scheduler.list()) == [DAILY]
    for other in ("2020-01-01T00:00:30", "2999-01-01T00:00:00Z", 7):
        recurrence["startTime"] = other
        assert json.loads(scheduler.list()[0].cron)["startTime"] == other
    del recurrence["startTime"]
    assert "startTime" not in json.loads(scheduler.list()[0].cron)


def test_workflows_of_others_are_neither_seen_nor_stumbled_over(cloud: AzureCloud, scheduler: Scheduler) -> None:
    scheduler.upsert(DAILY)
    mine = only(cloud)
    tag = mine["tags"]["omnisentinel"]
    for i, tags in enumerate([{}, None, {**mine["tags"], "omnisentinel": "another"}, {"omnisentinel": tag},
                              {"omnisentinel": tag, "omnisentinel-given-0": "%%%"}]):  # fmt: skip
        cloud.arm.workflows[f"{GROUP.lower()}/providers/x/{i}"] = {"name": str(i), "tags": tags, "properties": {}}
    assert list(scheduler.list()) == [DAILY]


def test_a_long_name_is_spread_over_tags(cloud: AzureCloud, scheduler: Scheduler) -> None:
    long = Schedule("ü" * 150, "0 9 * * *", "UTC", {"alert": "ü" * 150})
    scheduler.upsert(long)
    assert sum(t.startswith("omnisentinel-given-") for t in only(cloud)["tags"]) > 2
    assert list(scheduler.list()) == [long]
    with pytest.raises(ConfigInvalid, match="too long for the tags"):
        scheduler.upsert(Schedule("n" * 2_000, "0 9 * * *", "UTC", {}))


@pytest.mark.parametrize(("refusal", "kind", "text"), [
    ((403, "AuthorizationFailed"), SourceAuth, "Microsoft.Logic/workflows/write"),
    ((403, "LinkedAuthorizationFailed"), SourceAuth, "Microsoft.Logic/workflows/write"),
    ((404, "ResourceGroupNotFound"), ConfigInvalid, "OMNI_SCHEDULE_GROUP"),
    ((429, "TooManyRequests"), RateLimitExhausted, "throttles"),
    ((400, "InvalidTemplate"), SourceError, "InvalidTemplate"),
])  # fmt: skip
def test_refusals_name_the_permission_or_setting(
    cloud: AzureCloud, scheduler: Scheduler, refusal: tuple[int, str], kind: type[Error], text: str
) -> None:
    cloud.arm.refuse = refusal
    with pytest.raises(kind, match=text) as caught:
        scheduler.upsert(DAILY)
    assert "AZURES-OWN-WORDS" not in str(caught.value.to_dict("r"))


def test_what_timers_need_is_said_before_any_call(cloud: AzureCloud, settings: dict[str, str]) -> None:
    for name in ("SCHEDULE_TARGET", "SCHEDULE_KEY", "SCHEDULE_ROLE", "REGION", "SCHEDULE_GROUP"):
        left = {k: v for k, v in settings.items() if k != f"OMNI_{name}"}
        made = platform(Settings.from_env(left), left).scheduler
        assert made is not None
        before = len(cloud.calls)
        with pytest.raises(ConfigInvalid, match=f"OMNI_{name}"):
            made.upsert(DAILY)
        assert len(cloud.calls) == before
