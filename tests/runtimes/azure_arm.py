"""Azure's resource manager, as far as Logic Apps' workflows go: put, get, list in pages, delete.

It refuses what the real one does: a token for another service, names and tags over their limits, a recurrence with
fields that Logic Apps does not have, a step after one that is not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.runtimes.azure_answer import Answer, audience, refusal

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/alerts"
PAGE = 2
_FREQUENCIES = ("Second", "Minute", "Hour", "Day", "Week", "Month")
_NAME = re.compile(r"[A-Za-z0-9._()-]{1,43}")


class Arm:
    """``workflows``: by lower-case id, as they were put. ``refuse``: (status, code) to answer whatever is asked."""

    def __init__(self) -> None:
        self.workflows: dict[str, dict[str, Any]] = {}
        self.groups = {GROUP.lower()}
        self.refuse: tuple[int, str] | None = None

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> Answer:
        parts = urlsplit(url)
        asked = {k: v[0] for k, v in parse_qs(parts.query).items()}
        if audience(headers) != "https://management.azure.com":
            return refusal(401, "AuthenticationFailed")
        if self.refuse is not None:
            return refusal(*self.refuse)
        found = re.fullmatch(r"(.+/resourceGroups/[^/]+)/providers/Microsoft\.Logic/workflows(?:/([^/]+))?", parts.path)
        if found is None or asked.get("api-version") != "2019-05-01":
            return refusal(400, "InvalidRequest")
        if found[1].lower() not in self.groups:
            return refusal(404, "ResourceGroupNotFound")
        if found[2] is None:
            return self._page(found[1].lower(), int(asked.get("$skiptoken", 0)), headers["Host"], parts.path)
        place = parts.path.lower()
        if method == "PUT":
            return self._put(place, found[2], json.loads(body))
        if method == "DELETE":
            return Answer(200 if self.workflows.pop(place, None) else 204)
        found_one = self.workflows.get(place)
        return refusal(404, "ResourceNotFound") if found_one is None else Answer(200, answered(found_one))

    def _page(self, group: str, skip: int, host: str, path: str) -> Answer:
        all_ = [w for place, w in sorted(self.workflows.items()) if place.startswith(group + "/")]
        page: dict[str, Any] = {"value": [answered(one) for one in all_[skip : skip + PAGE]]}
        if skip + PAGE < len(all_):
            page["nextLink"] = f"https://{host}{path}?api-version=2019-05-01&$skiptoken={skip + PAGE}"
        return Answer(200, page)

    def _put(self, place: str, name: str, given: dict[str, Any]) -> Answer:
        wrong = wrong_workflow(name, given)
        if wrong:
            return refusal(400, wrong)
        new = place not in self.workflows
        self.workflows[place] = {**given, "id": place, "name": name, "type": "Microsoft.Logic/workflows"}
        return Answer(201 if new else 200, answered(self.workflows[place]))


def answered(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """What is answered of a workflow that was put so: with what Azure adds, and without what is empty in the definition
    (it keeps that today; nobody promises it)."""
    given = workflow["properties"].get("definition", {})
    definition = {name: one for name, one in given.items() if one != {}}
    definition["triggers"] = {
        name: {**one, "evaluatedRecurrence": one["recurrence"]} for name, one in given.get("triggers", {}).items()
    }
    decided = {"provisioningState": "Succeeded", "createdTime": "2026-01-01T00:00:00Z", "version": "0858",
               "accessEndpoint": "https://prod.westeurope.logic.azure.com/workflows/1"}  # fmt: skip
    return {**workflow, "properties": {**workflow["properties"], **decided, "definition": definition}}


def wrong_workflow(name: str, given: dict[str, Any]) -> str:
    """The code with which the resource manager or Logic Apps would refuse it, or ''."""
    if not _NAME.fullmatch(name):
        return "InvalidResourceName"
    if not given.get("location"):
        return "LocationRequired"
    tags = given.get("tags", {})
    if len(tags) > 15 or any(len(v) > 256 or len(k) > 512 or re.search(r"[<>%&\\?/]", k) for k, v in tags.items()):
        return "InvalidTag"
    definition = given["properties"]["definition"]
    if set(definition) - {"$schema", "contentVersion", "parameters", "triggers", "actions", "outputs"}:
        return "InvalidTemplate"
    for trigger in definition["triggers"].values():
        if wrong_recurrence(trigger["recurrence"]):
            return "InvalidTemplate"
    if not _follow(definition["actions"]):
        return "InvalidTemplate"
    return ""


def _follow(steps: Mapping[str, Any]) -> bool:
    """Whether each step runs after its neighbours, in every scope."""
    return all(
        set(step.get("runAfter", {})) <= set(steps)
        and _follow(step.get("actions", {}))
        and _follow(step.get("else", {}).get("actions", {}))
        for step in steps.values()
    )


def wrong_recurrence(recurrence: dict[str, Any]) -> bool:
    if set(recurrence) - {"frequency", "interval", "startTime", "endTime", "timeZone", "schedule"}:
        return True
    schedule = recurrence.get("schedule", {})
    days = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
    return (
        recurrence.get("frequency") not in _FREQUENCIES
        or not isinstance(recurrence.get("interval"), int)
        or bool(set(schedule) - {"hours", "minutes", "weekDays", "monthDays", "monthlyOccurrences"})
        or (bool(schedule) and recurrence["frequency"] not in ("Day", "Week", "Month"))
        or not set(schedule.get("weekDays", ())) <= days
        or ("weekDays" in schedule and recurrence["frequency"] != "Week")
        or not all(0 <= h < 24 for h in schedule.get("hours", ()))
        or not all(0 <= m < 60 for m in schedule.get("minutes", ()))
    )
