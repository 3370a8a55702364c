"""The Scheduler port on Cloud Scheduler: one job per timer, which calls **watch** over HTTP.

A job's name is ``DEPLOYMENT--TIMER``: no deployment's name has two dashes in a row, so no two deployments share one.
Its body is what watch is sent; its description, at most 500 characters, says in JSON which deployment and schedule it
is of and the cron as the project has it. The slot comes in a header of Cloud Scheduler's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.alert.schedule import validate
from core.alert.timers import as_terraform, cloud_scheduler, native_zone, timer_id
from core.errors import ConfigInvalid, Error
from core.ports import Schedule
from core.settings import Settings
from handlers.gcp.errors import ATTEMPT_S, mapped, patient
from handlers.gcp.names import fitting

MAX_DESCRIPTION = 499
ATTEMPT_DEADLINE_S = 1_800
"""How long Cloud Scheduler waits for watch, at most: the function's own timeout ends it first."""
_TARGET = r"https?://[^\s{}]+"


class GcpScheduler:
    """``client()`` gives a CloudSchedulerClient."""

    def __init__(self, client: Callable[[], Any], settings: Settings) -> None:
        self._client, self._settings = client, settings

    def upsert(self, schedule: Schedule) -> None:
        try:
            job = self._job(schedule)
        except ConfigInvalid as error:
            details = {**error.details, "alert": schedule.name}
            raise ConfigInvalid(f"{schedule.name}: {error.message}", **details) from None
        from google.api_core.exceptions import AlreadyExists, NotFound

        with self._mapped(schedule.name, "cloudscheduler.jobs.create and .update"):
            try:
                self._client().update_job({"job": job}, retry=patient(), timeout=ATTEMPT_S)
                return
            except NotFound:
                pass
            try:
                request = {"parent": self._parent(), "job": job}
                self._client().create_job(request, retry=patient(), timeout=ATTEMPT_S)
            except AlreadyExists:  # another deploy was first, or our own answer was lost
                self._client().update_job({"job": job}, retry=patient(), timeout=ATTEMPT_S)

    def delete(self, name: str) -> None:
        from google.api_core.exceptions import NotFound

        full = f"{self._parent()}/jobs/{self._prefix()}{timer_id(name)}"
        with self._mapped(name, "cloudscheduler.jobs.delete"):
            try:
                self._client().delete_job({"name": full}, retry=patient(), timeout=ATTEMPT_S)
            except NotFound:
                return

    def list(self) -> Sequence[Schedule]:
        start = f"{self._parent()}/jobs/{self._prefix()}"
        with self._mapped("*", "cloudscheduler.jobs.list"):
            request = {"parent": self._parent(), "page_size": 500}
            jobs = list(self._client().list_jobs(request, retry=patient(), timeout=ATTEMPT_S))
        found = (_read(job, self._settings.deployment) for job in jobs if _same_job(job.name, start))
        return sorted((schedule for schedule in found if schedule is not None), key=lambda schedule: schedule.name)

    def _job(self, schedule: Schedule) -> dict[str, Any]:
        """The job as a whole: what it was before is replaced. Raises ConfigInvalid, before any call."""
        validate(schedule.cron, schedule.timezone)
        target = fitting(_TARGET, self._settings.schedule_target, "OMNI_SCHEDULE_TARGET", "https://WATCH.run.app/")[0]
        account = fitting(
            r"[^@:/\s]+@[^@:/\s]+", self._settings.schedule_role, "OMNI_SCHEDULE_ROLE", "NAME@P.iam.gserviceaccount.com"
        )[0]
        return {
            "name": f"{self._parent()}/jobs/{self._prefix()}{timer_id(schedule.name)}",
            "description": description(self._settings.deployment, schedule),
            "schedule": cloud_scheduler(schedule.cron),
            "time_zone": native_zone(schedule.cron, schedule.timezone),
            "attempt_deadline": {"seconds": ATTEMPT_DEADLINE_S},
            "retry_config": {
                "retry_count": 3, "min_backoff_duration": {"seconds": 10}, "max_backoff_duration": {"seconds": 60},
            },
            "http_target": {
                "uri": target, "http_method": "POST", "headers": {"Content-Type": "application/json"},
                "body": as_terraform(schedule.payload).encode(),
                "oidc_token": {"service_account_email": account, "audience": _audience(target)},
            },
        }  # fmt: skip

    def _parent(self) -> str:
        example = "projects/P/locations/L"
        return fitting(
            r"projects/[^/]+/locations/[^/]+", self._settings.schedule_group, "OMNI_SCHEDULE_GROUP", example
        )[0]

    def _prefix(self) -> str:
        pattern = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
        return fitting(pattern, self._settings.deployment, "OMNI_DEPLOYMENT", "omnisentinel-prod")[0] + "--"

    def _mapped(self, name: str, permission: str) -> Any:
        what = "timers" if name == "*" else f"timer of {name!r}"
        return mapped("Cloud Scheduler", what, permission, lambda code: self._meaning(code, name))

    def _meaning(self, code: str, name: str) -> Error | None:
        if code == "NOT_FOUND":
            return ConfigInvalid(
                f"Cloud Scheduler has no location {self._settings.schedule_group!r}: set OMNI_SCHEDULE_GROUP to "
                "projects/P/locations/L of a project with Cloud Scheduler.", key="OMNI_SCHEDULE_GROUP",
            )  # fmt: skip
        if code == "INVALID_ARGUMENT":
            return ConfigInvalid(
                f"{name}: Cloud Scheduler does not take this timer ({code}): look at its schedule, its zone and "
                "OMNI_SCHEDULE_TARGET.", alert=name,
            )  # fmt: skip
        return None


def description(deployment: str, schedule: Schedule) -> str:
    """What a job says of itself. A cron too long for it is left out: the job's own schedule says it in other words."""
    said = {"cron": schedule.cron, "deployment": deployment, "name": schedule.name, "timezone": schedule.timezone}
    text = as_terraform(said)
    if len(text) > MAX_DESCRIPTION:
        del said["cron"]
        text = as_terraform(said)
    return text


def _read(job: Any, deployment: str) -> Schedule | None:
    """The schedule of a job, or None where it is not one of this deployment's."""
    try:
        said = json.loads(job.description)
        payload = json.loads(bytes(job.http_target.body) or b"{}")
    except ValueError:
        return None
    if not isinstance(said, Mapping) or said.get("deployment") != deployment or not isinstance(payload, dict):
        return None
    name, cron, timezone = (str(said.get(key) or "") for key in ("name", "cron", "timezone"))
    changed = not _means(cron, timezone, job)
    return Schedule(name, job.schedule if changed else cron, job.time_zone if changed else timezone, payload)


def _means(cron: str, timezone: str, job: Any) -> bool:
    """Whether the job's own words are those that ``cron`` gets: nobody has changed it by hand."""
    try:
        return bool(cloud_scheduler(cron) == job.schedule and native_zone(cron, timezone) == job.time_zone)
    except ConfigInvalid:
        return False


def _same_job(name: str, start: str) -> bool:
    """Google answers with the project's id where it was asked by its number, or the other way round."""
    return name.partition("/locations/")[2].startswith(start.partition("/locations/")[2])


def _audience(target: str) -> str:
    """The service's own URL: Cloud Run takes no token for a path of it."""
    found = re.match(r"https?://[^/?#]+", target)
    return found[0] if found else target
