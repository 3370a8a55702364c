"""The Scheduler port on EventBridge Scheduler: one schedule per timer, in the deployment's group.

A schedule is named ``DEPLOYMENT.TIMER`` and calls watch with the timer's payload and the slot, which the service fills
in. Its description keeps what it was made from, as JSON. Terraform writes the same text for the same timer, so that
neither undoes what the other did.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from botocore.exceptions import ClientError

from core.alert.timers import as_terraform
from core.errors import ConfigInvalid, Error, ResourceLimit
from core.ports import Schedule
from core.settings import Settings
from handlers.aws.errors import mapped

RETRY = {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 3_600}
"""Of the delivery to watch; a slot that is an hour late is caught by the sweep instead."""
DEAD_LETTERS = "-dead-letters"
"""``DEPLOYMENT`` + this is the queue for deliveries that were given up, in the account and region of watch."""
_SLOT = '"scheduled_at":"<aws.scheduler.scheduled-time>"'
_MAX_NAME, _MAX_DESCRIPTION = 64, 512
_TARGET = re.compile(r"arn:(aws[\w-]*):lambda:([\w-]+):(\d{12}):function:[\w-]+(:[\w$-]+)?")
_ROLE = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_GROUP = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_DEPLOYMENT = re.compile(r"[a-z][a-z0-9-]{0,31}")


class AwsScheduler:
    """``client()`` gives a botocore client of ``scheduler``; ``settings`` names group, target, role and deployment."""

    def __init__(self, client: Callable[[], Any], settings: Settings) -> None:
        self._client, self._settings = client, settings

    def upsert(self, schedule: Schedule) -> None:
        asked = self._asked(schedule)
        client = self._client()
        with self._mapped(schedule.name, "scheduler:CreateSchedule, and iam:PassRole on OMNI_SCHEDULE_ROLE"):
            try:
                client.create_schedule(**asked)
                return
            except ClientError as error:
                if _code(error) != "ConflictException":
                    raise
        with self._mapped(schedule.name, "scheduler:UpdateSchedule, and iam:PassRole on OMNI_SCHEDULE_ROLE"):
            client.update_schedule(**asked)

    def delete(self, name: str) -> None:
        group, deployment = self._group(), self._deployment()
        client = self._client()
        with self._mapped(name, "scheduler:DeleteSchedule"):
            try:
                client.delete_schedule(GroupName=group, Name=schedule_name(deployment, name))
            except ClientError as error:
                if _code(error) != "ResourceNotFoundException":
                    raise

    def list(self) -> Sequence[Schedule]:
        group, prefix = self._group(), f"{self._deployment()}."
        client = self._client()
        asked: dict[str, Any] = {"GroupName": group, "NamePrefix": prefix, "MaxResults": 100}
        names: list[str] = []
        while True:
            with self._mapped("all", "scheduler:ListSchedules"):
                page = client.list_schedules(**asked)
            names += [found["Name"] for found in page["Schedules"]]
            if not page.get("NextToken"):
                break
            asked["NextToken"] = page["NextToken"]
        found = [self._get(client, group, name) for name in names]
        return sorted((one for one in found if one is not None), key=lambda one: one.name)

    def _get(self, client: Any, group: str, name: str) -> Schedule | None:
        with self._mapped(name, "scheduler:GetSchedule"):
            try:
                return _read(client.get_schedule(GroupName=group, Name=name), name.partition(".")[2])
            except ClientError as error:
                if _code(error) != "ResourceNotFoundException":  # gone since it was listed
                    raise
        return None

    def _asked(self, schedule: Schedule) -> dict[str, Any]:
        from core.alert.schedule import validate
        from core.alert.timers import eventbridge, native_zone

        try:
            validate(schedule.cron, schedule.timezone)
            expression, zone = eventbridge(schedule.cron), native_zone(schedule.cron, schedule.timezone)
        except ConfigInvalid as error:
            raise ConfigInvalid(f"The schedule of {schedule.name!r}: {error.message}", **error.details) from None
        described = description(schedule)
        if len(described) > _MAX_DESCRIPTION:
            raise ConfigInvalid(f"The schedule of {schedule.name!r} is too long for EventBridge Scheduler: shorten the "
                                "alert's name or its cron.", schedule=schedule.name)  # fmt: skip
        deployment, (arn, dead) = self._deployment(), self._target()
        return {
            "GroupName": self._group(),
            "Name": schedule_name(deployment, schedule.name),
            "Description": described,
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": zone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Target": {
                "Arn": arn, "RoleArn": self._role(), "Input": target_input(schedule.payload),
                "RetryPolicy": RETRY, "DeadLetterConfig": {"Arn": dead},
            },
        }  # fmt: skip

    def _target(self) -> tuple[str, str]:
        """The ARN of watch, and of the queue for what could not be delivered to it."""
        arn = self._settings.schedule_target
        match = _TARGET.fullmatch(arn)
        if match is None:
            raise ConfigInvalid(f"OMNI_SCHEDULE_TARGET has to be the ARN of watch or of its alias, not {arn!r}.",
                                key="OMNI_SCHEDULE_TARGET")  # fmt: skip
        return arn, f"arn:{match[1]}:sqs:{match[2]}:{match[3]}:{self._deployment()}{DEAD_LETTERS}"

    def _role(self) -> str:
        if not _ROLE.fullmatch(self._settings.schedule_role):
            raise ConfigInvalid("OMNI_SCHEDULE_ROLE has to be the ARN of the role that may invoke watch, not "
                                f"{self._settings.schedule_role!r}.", key="OMNI_SCHEDULE_ROLE")  # fmt: skip
        return self._settings.schedule_role

    def _group(self) -> str:
        if not _GROUP.fullmatch(self._settings.schedule_group):
            raise ConfigInvalid("OMNI_SCHEDULE_GROUP has to be the name of a group of EventBridge Scheduler, not "
                                f"{self._settings.schedule_group!r}.", key="OMNI_SCHEDULE_GROUP")  # fmt: skip
        return self._settings.schedule_group

    def _deployment(self) -> str:
        if not _DEPLOYMENT.fullmatch(self._settings.deployment):
            raise ConfigInvalid("OMNI_DEPLOYMENT has to be up to 32 of a-z, 0-9 and -, beginning with a letter, not "
                                f"{self._settings.deployment!r}.", key="OMNI_DEPLOYMENT")  # fmt: skip
        return self._settings.deployment

    def _mapped(self, name: str, permission: str) -> AbstractContextManager[None]:
        return mapped("EventBridge Scheduler", f"schedule {name!r}", permission, self._meaning)

    def _meaning(self, code: str, _message: str) -> Error | None:
        if code == "ResourceNotFoundException":
            return ConfigInvalid(
                f"There is no schedule group {self._settings.schedule_group!r} here: create it, or set "
                "OMNI_SCHEDULE_GROUP and OMNI_REGION.", key="OMNI_SCHEDULE_GROUP",
            )  # fmt: skip
        if code == "ValidationException":
            return ConfigInvalid(
                "EventBridge Scheduler refused the form of a schedule: does OMNI_SCHEDULE_ROLE let "
                "scheduler.amazonaws.com assume it, and is OMNI_SCHEDULE_TARGET there?", key="OMNI_SCHEDULE_ROLE",
            )  # fmt: skip
        if code == "ServiceQuotaExceededException":
            return ResourceLimit("This account has as many schedules as it may: ask AWS for a higher quota.",
                                 service="EventBridge Scheduler", aws_code=code)  # fmt: skip
        return None


def schedule_name(deployment: str, name: str) -> str:
    """``DEPLOYMENT.TIMER``, shortened with a hash where it would be over 64 characters."""
    from core.alert.timers import timer_id

    full = f"{deployment}.{timer_id(name)}"
    if len(full) <= _MAX_NAME:
        return full
    return f"{full[: _MAX_NAME - 9]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def description(schedule: Schedule) -> str:
    """What the schedule was made from: ``{"cron", "name", "timezone"}``."""
    return as_terraform({"cron": schedule.cron, "name": schedule.name, "timezone": schedule.timezone})


def target_input(payload: Mapping[str, Any]) -> str:
    """The payload with the slot. ``<`` and ``>`` of its own are escaped, for the service would fill them in as well."""
    text = as_terraform(payload)
    return f"{text[:-1]}{',' if payload else ''}{_SLOT}}}"


def _read(found: Mapping[str, Any], timer: str) -> Schedule:
    """What was given, with ``cron`` and ``timezone`` as the service has them where they were changed by hand."""
    from core.alert.timers import eventbridge, native_zone

    payload = _object(found.get("Target", {}).get("Input"))
    payload.pop("scheduled_at", None)
    kept = _object(found.get("Description"))
    name = str(kept.get("name") or payload.get("alert") or timer)
    native, zone = found["ScheduleExpression"], found.get("ScheduleExpressionTimezone") or "UTC"
    cron, given_zone = str(kept.get("cron", "")), str(kept.get("timezone", ""))
    try:
        unchanged = eventbridge(cron) == native and native_zone(cron, given_zone) == zone
    except ConfigInvalid:
        unchanged = False
    return Schedule(name, cron, given_zone, payload) if unchanged else Schedule(name, native, zone, payload)


def _object(text: str | None) -> dict[str, Any]:
    """The JSON object, or nothing where somebody has written something else."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
