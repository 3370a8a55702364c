"""The Scheduler port on Logic Apps: one workflow a timer, told to Azure's resource manager.

A workflow is a recurrence, a read of the function key from Key Vault under the timers' own identity, and a POST to
**watch**. What ``upsert`` was given stands in the workflow's tags (256 characters each), so that ``list`` returns it,
and so that what is not ours is left alone.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import orjson

from core.alert import timers
from core.errors import ConfigInvalid, Error, SourceError
from core.ports import Schedule
from core.settings import Settings
from handlers.azure.clients import Identity, pipeline
from handlers.azure.errors import mapped

API = "2019-05-01"
MANAGEMENT = "https://management.azure.com"
PERMISSION = "Microsoft.Logic/workflows/"
DEPLOYMENT_TAG, GIVEN_TAG = "omnisentinel", "omnisentinel-given-"
MAX_NAME = 43
_MAX_TAG = 256
_GROUP = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+", re.IGNORECASE)
SLOT = "@formatDateTime(coalesce(trigger()?['scheduledTime'],trigger()?['startTime']),'yyyy-MM-ddTHH:mm:00Z')"
"""The minute for which the trigger fired. A recurrence that was made by hand may keep the seconds of its saving."""
RETRY = {"type": "exponential", "count": 3, "interval": "PT20S", "minimumInterval": "PT10S", "maximumInterval": "PT2M"}


class LogicApps:
    """The timers of ``settings.deployment`` in the resource group ``settings.schedule_group``."""

    def __init__(self, identity: Identity, settings: Settings) -> None:
        self._identity, self._settings = identity, settings
        self._client: Any = None

    def upsert(self, schedule: Schedule) -> None:
        recurrence = _recurrence(schedule)
        place = self._place(schedule.name)
        settings = self._settings
        for value, setting in ((settings.schedule_target, "SCHEDULE_TARGET"), (settings.schedule_key, "SCHEDULE_KEY"),
                               (settings.schedule_role, "SCHEDULE_ROLE"), (settings.region, "REGION")):  # fmt: skip
            if not value:
                raise ConfigInvalid(f"{schedule.name}: timers need OMNI_{setting}.", key=f"OMNI_{setting}")
        body = {
            "location": settings.region,
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {settings.schedule_role: {}}},
            "tags": _tags(settings.deployment, schedule),
            "properties": {"state": "Enabled", "definition": definition(recurrence, schedule.payload, settings)},
        }
        self._send("PUT", place, schedule.name, "write", body)

    def delete(self, name: str) -> None:
        self._send("DELETE", self._place(name), name, "delete")

    def list(self) -> Sequence[Schedule]:
        found: list[Schedule] = []
        url = f"{self._group()}/providers/Microsoft.Logic/workflows?api-version={API}"
        while url:
            page = self._send("GET", url, "*", "read") or {}
            found += [
                s for one in page.get("value", ()) if (s := _schedule(one, self._settings.deployment)) is not None
            ]
            url = str(page.get("nextLink") or "")
        return sorted(found, key=lambda s: s.name)

    def _group(self) -> str:
        group = self._settings.schedule_group.rstrip("/")
        if not _GROUP.fullmatch(group):
            raise ConfigInvalid(
                "OMNI_SCHEDULE_GROUP has to be the id of a resource group, /subscriptions/ID/resourceGroups/NAME.",
                key="OMNI_SCHEDULE_GROUP",
            )  # fmt: skip
        return group

    def _place(self, name: str) -> str:
        workflow = workflow_name(self._settings.deployment, name)
        return f"{self._group()}/providers/Microsoft.Logic/workflows/{workflow}?api-version={API}"

    def _send(self, method: str, url: str, name: str, action: str, body: Mapping[str, Any] | None = None) -> Any:
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        client = self._made()
        with self._mapped(name, action):
            response = client.send_request(HttpRequest(method, client.format_url(url), json=body))
            if method == "DELETE" and response.status_code == 404 and _code(response) != "ResourceGroupNotFound":
                return None
            if response.status_code >= 400:
                raise HttpResponseError(response=response)
            try:
                return response.json() if response.content else None
            except ValueError:
                raise SourceError("Azure's resource manager did not answer in JSON.", service="Logic Apps") from None

    def _made(self) -> Any:
        if self._client is None:
            base = self._settings.endpoint_url.rstrip("/") or MANAGEMENT
            self._client = pipeline(base, self._identity, f"{MANAGEMENT}/.default")
        return self._client

    def _mapped(self, name: str, action: str) -> AbstractContextManager[None]:
        def meaning(_status: int, code: str) -> Error | None:
            if code in ("ResourceGroupNotFound", "SubscriptionNotFound"):
                return ConfigInvalid(f"There is no resource group {self._settings.schedule_group}: set "
                                     "OMNI_SCHEDULE_GROUP.", key="OMNI_SCHEDULE_GROUP")  # fmt: skip
            return None

        return mapped("Logic Apps", f"timer {name!r}", PERMISSION + action, meaning)


def workflow_name(deployment: str, name: str) -> str:
    """At most 43 characters. The two hyphens keep deployments apart, for no timer's id has them."""
    full = f"{deployment}--{timers.timer_id(name)}"
    return full if len(full) <= MAX_NAME else f"{full[:32]}-{hashlib.sha256(full.encode()).hexdigest()[:10]}"


def definition(recurrence: Mapping[str, Any], payload: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The workflow in Logic Apps' own language, as Terraform writes it too."""
    origin = re.match(r"https://[^./]+\.(?P<domain>[^/:]+)", settings.schedule_key)
    audience = f"https://{origin['domain']}" if origin else ""
    return {
        "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/"
                   "workflowdefinition.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {},
        "triggers": {"schedule": {"type": "Recurrence", "recurrence": dict(recurrence)}},
        "actions": {
            "key": {
                "type": "Http",
                "inputs": {
                    "method": "GET",
                    "uri": f"{settings.schedule_key}?api-version=7.4",
                    "authentication": {
                        "type": "ManagedServiceIdentity", "identity": settings.schedule_role, "audience": audience,
                    },
                    "retryPolicy": RETRY,
                },
                "runtimeConfiguration": {"secureData": {"properties": ["outputs"]}},
                "runAfter": {},
            },
            "watch": {
                "type": "Http",
                "inputs": {
                    "method": "POST",
                    "uri": settings.schedule_target,
                    "headers": {"Content-Type": "application/json", "x-functions-key": "@{body('key')?['value']}"},
                    "body": {**{k: _literal(v) for k, v in payload.items()}, "scheduled_at": SLOT},
                    "retryPolicy": RETRY,
                },
                "runtimeConfiguration": {"secureData": {"properties": ["inputs"]}},
                "runAfter": {"key": ["Succeeded"]},
            },
        },
        "outputs": {},
    }  # fmt: skip


def _literal(value: Any) -> Any:
    """A text as itself: Logic Apps reads ``@`` at the beginning, and ``@{`` anywhere, as code."""
    if not isinstance(value, str):
        return value
    return "@" + value if value.startswith("@") else value.replace("@{", "@@{")


def _recurrence(schedule: Schedule) -> dict[str, Any]:
    try:
        return timers.logic_apps(schedule.cron, schedule.timezone)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{schedule.name}: {error.message}", **error.details) from error


def _tags(deployment: str, schedule: Schedule) -> dict[str, str]:
    given = orjson.dumps(
        {
            "name": schedule.name,
            "cron": schedule.cron,
            "timezone": schedule.timezone,
            "payload": dict(schedule.payload),
        },
        option=orjson.OPT_SORT_KEYS,
    )
    text = base64.urlsafe_b64encode(given).decode()
    pieces = [text[at : at + _MAX_TAG] for at in range(0, len(text), _MAX_TAG)]
    if len(pieces) > 10:
        raise ConfigInvalid(f"{schedule.name[:80]}: its name and payload are too long for the tags of a Logic App.")
    return {DEPLOYMENT_TAG: deployment, **{f"{GIVEN_TAG}{i}": piece for i, piece in enumerate(pieces)}}


def _schedule(workflow: Mapping[str, Any], deployment: str) -> Schedule | None:
    """What one workflow of the group was made from; None where it is not one of this deployment's timers."""
    tags = workflow.get("tags") or {}
    if tags.get(DEPLOYMENT_TAG) != deployment:
        return None
    text, i = "", 0
    while f"{GIVEN_TAG}{i}" in tags:
        text, i = text + tags[f"{GIVEN_TAG}{i}"], i + 1
    try:
        given = orjson.loads(base64.urlsafe_b64decode(text))
        made = Schedule(given["name"], given["cron"], given["timezone"], given["payload"])
    except (ValueError, KeyError, TypeError):
        return None  # somebody's own workflow with our tag: not one that upsert wrote
    triggers = workflow.get("properties", {}).get("definition", {}).get("triggers", {})
    native = triggers.get("schedule", {}).get("recurrence")
    if native is None or _plain(native) == _plain(_recurrence(made)):
        return made
    return Schedule(made.name, orjson.dumps(native, option=orjson.OPT_SORT_KEYS).decode(), made.timezone, made.payload)


def _plain(recurrence: Mapping[str, Any]) -> dict[str, Any]:
    """With the start in one form, for the designer writes the same one with ``.000`` and ``Z``.

    Without a start it is another recurrence: it fires when it is saved.
    """
    start = recurrence.get("startTime")
    return {**recurrence, "startTime": re.sub(r"(\.0+)?Z?$", "", start) if isinstance(start, str) else None}


def _code(response: Any) -> str:
    try:
        return str(response.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
