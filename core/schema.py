"""The shape of a project's YAML documents, as pydantic models. Unknown keys are errors.

Imported only when a document changed since it was last read: ``project`` keeps what these models made of it.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from core.cron import ALIASES
from core.durations import seconds

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def _duration(value: Any) -> float:
    return seconds(value)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _zone(value: Any) -> Any:
    if not isinstance(value, str) or (value not in available_timezones()):
        raise ValueError(f"{value!r} is no time zone; use an IANA name such as Europe/Berlin or UTC")
    return value


def _plain(value: Any) -> Any:
    """YAML's dates and times as text: JSON has none, and columns are compared by their text form."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value


Duration = Annotated[float, BeforeValidator(_duration)]
Names = Annotated[list[str], BeforeValidator(_listed)]
Zone = Annotated[str, BeforeValidator(_zone)]
Trouble = Literal["keep", "ok", "alert", "error"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SourceModel(BaseModel):
    """``connector`` and its options; the registry checks the options, for only it knows the connectors."""

    model_config = ConfigDict(extra="allow")
    connector: str


class EmailModel(Strict):
    """``host`` to ``ca_file`` override the project's `smtp:`."""

    type: Literal["email"]
    to: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    subject: str | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] | str | None = None
    user: str | None = None
    password: str | None = None
    tls: Literal["starttls", "tls", "none"] | None = None
    from_: str | None = Field(None, alias="from")
    ca_file: str | None = None


class WebhookModel(Strict):
    type: Literal["webhook"]
    url: str
    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    headers: dict[str, str] = {}
    sign_with: str | None = None


class SlackModel(Strict):
    type: Literal["slack"]
    url: str


CHANNELS: dict[str, type[Strict]] = {"email": EmailModel, "webhook": WebhookModel, "slack": SlackModel}


class ChannelModel(BaseModel):
    """``type`` decides which of CHANNELS the rest has to be."""

    model_config = ConfigDict(extra="allow")
    type: Literal["email", "webhook", "slack"]


class PrincipalModel(Strict):
    roles: Names = []
    teams: Names = []
    tenant: str = "default"
    key: str | None = None
    attributes: Annotated[dict[str, Any], BeforeValidator(_plain)] = {}


class NetworkModel(Strict):
    allow: Names = []


class DeliveryModel(Strict):
    attempts: Annotated[int, Field(ge=1, le=1_000)] = 150
    first_retry: Duration = 15.0
    max_retry: Duration = 600.0


class SmtpModel(Strict):
    host: str
    port: Annotated[int, Field(ge=1, le=65_535)] | str | None = None  # a text is a reference, such as ${SMTP_PORT}
    user: str | None = None
    password: str | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"
    from_: str | None = Field(None, alias="from")
    ca_file: str | None = None


class DefaultsModel(Strict):
    timezone: Zone = "UTC"
    timeout: Duration = 30.0
    max_staleness: Duration = 0.0


class ProjectModel(Strict):
    version: Literal[1]
    sources: dict[str, SourceModel] = {}
    channels: dict[str, ChannelModel] = {}
    principals: dict[str, PrincipalModel] = {}
    network: NetworkModel = NetworkModel()
    delivery: DeliveryModel = DeliveryModel()
    smtp: SmtpModel | None = None
    defaults: DefaultsModel = DefaultsModel()

    @field_validator("sources")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no source name; use letters, digits and _ and begin with a letter")
        if len({name.lower() for name in value}) != len(value):
            raise ValueError("two sources differ only in case; SQL would not tell them apart")
        return value


# ── policies ─────────────────────────────────────────────────────────────────────────────────────────────────────

_OPERATORS = {
    "eq": "=",
    "ne": "!=",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "in": "in",
    "not_in": "not in",
    "contains": "contains",
    "starts_with": "starts with",
    "ends_with": "ends with",
}


def _where(value: Any) -> list[tuple[str, str, Any]]:
    """``{column: {op: value}}``, ``{column: value}`` and ``{column: [values]}`` as (column, comparison, value)."""
    if not isinstance(value, dict) or not value:
        raise ValueError("has to be a mapping of columns to conditions, such as {team: {in: $user.teams}}")
    parts: list[tuple[str, str, Any]] = []
    for column, test in value.items():
        if isinstance(test, dict):
            for op, operand in test.items():
                if op not in _OPERATORS:
                    raise ValueError(f"{column}: unknown operator {op!r}; known: {', '.join(_OPERATORS)}")
                parts.append((str(column), _OPERATORS[op], _operand(column, operand)))
        elif isinstance(test, list):
            parts.append((str(column), "in", _operand(column, test)))
        else:
            parts.append((str(column), "=", _operand(column, test)))
    return parts


def _operand(column: Any, value: Any) -> Any:
    plain = _plain(value)
    for item in plain if isinstance(plain, list) else [plain]:
        if item is None or isinstance(item, dict | list):
            raise ValueError(f"{column}: compare with a text, number, boolean, a list of these or $user.NAME")
    return plain


class RowModel(Strict):
    roles: Names = []
    where: Annotated[list[tuple[str, str, Any]], BeforeValidator(_where)] = []

    @model_validator(mode="before")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if value == {}:
            raise ValueError("an empty rule would let everybody in; write `roles:` or `where:`, or `all: true`")
        return value

    all: Literal[True] | None = None


class MaskModel(Strict):
    mask: Literal["null", "hash", "redact", "last4", "year", "bucket", "deny"]
    unless_roles: Names = []
    width: Annotated[float, Field(ge=0)] = 0.0

    @field_validator("mask", mode="before")
    @classmethod
    def _null(cls, value: Any) -> Any:
        return "null" if value is None else value  # `mask: null` without quotes is YAML's null


class TestUserModel(Strict):
    name: str = "test"
    roles: Names = []
    teams: Names = []
    tenant: str = "default"
    attributes: Annotated[dict[str, Any], BeforeValidator(_plain)] = {}


class PolicyTestModel(Strict):
    user: TestUserModel
    sees: list[dict[str, Any]] = []
    hides: list[dict[str, Any]] = []

    @field_validator("sees", "hides", mode="before")
    @classmethod
    def _values(cls, value: Any) -> Any:
        return _plain(value)


class PolicyModel(Strict):
    table: str
    version: int | None = None
    description: str = ""
    rows: list[RowModel]
    columns: dict[str, MaskModel] = {}
    tests: list[PolicyTestModel] = []

    @field_validator("table")
    @classmethod
    def _table(cls, value: str) -> str:
        if value != "*" and "." not in value:
            raise ValueError("has to be source.table, source.* or *")
        return value


# ── alerts ───────────────────────────────────────────────────────────────────────────────────────────────────────


class AsModel(Strict):
    name: str
    roles: Names = []
    teams: Names = []
    tenant: str = "default"
    attributes: Annotated[dict[str, Any], BeforeValidator(_plain)] = {}


def _of(value: Any) -> Any:
    """``3 of 5`` as [3, 5]."""
    if isinstance(value, str) and (m := re.fullmatch(r"\s*(\d+)\s+of\s+(\d+)\s*", value)):
        value = [int(m[1]), int(m[2])]
    if not (isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(n, int) for n in value)):
        raise ValueError("has to be `M of N`, such as `3 of 5`")
    if not 1 <= value[0] <= value[1] <= 100:
        raise ValueError("M of N needs 1 <= M <= N <= 100")
    return tuple(value)


def schedule(value: str) -> str:
    """A cron expression of five fields, or @hourly and its kin; ValueError says which part is wrong."""
    text = ALIASES.get(value.strip().lower(), value.strip())
    if len(text.split()) != 5:
        raise ValueError(f"{value!r} is no cron expression; five fields are needed: minute hour day month weekday")
    try:
        CronSim(text, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"{value!r} is no cron expression: {str(error).lower() or 'not understood'}") from None
    return text


class AlertModel(Strict):
    """One alert. Not yet acted upon, and said so by `omni check`: mute, escalate, depends_on."""

    name: str = Field(min_length=1, max_length=200)
    description: str = ""
    query: str = Field(min_length=1)
    schedule: str | None = None
    timezone: Zone | None = None
    as_: AsModel | str | None = Field(None, alias="as")
    notify: Names = []
    for_: Duration = Field(0.0, alias="for")
    of: Annotated[tuple[int, int] | None, BeforeValidator(lambda v: None if v is None else _of(v))] = None
    key: Names = []
    severity: str | None = None
    repeat_every: Duration | None = None
    on_error: Trouble = "error"
    no_data: Trouble = "error"
    recovered: bool = True
    runbook: str = ""
    labels: dict[str, str] = {}
    timeout: Duration | None = None
    dialect: Literal["duckdb", "sqlite", "postgres"] = "duckdb"
    enabled: bool = True

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        return None if value is None else schedule(value)

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable() or value != value.strip():
            raise ValueError("has to be printable text without spaces around it")
        return value
