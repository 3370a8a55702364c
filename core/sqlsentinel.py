"""A `sqlsentinel` configuration, read as it is: one database, alerts over it, channels inside each alert.

It becomes a private source (which only its own alerts may read, and all of it, in the database's own dialect),
channels named after the alerts, and alerts of ours. Its keys were lenient about extras; so are we, and say so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from core.schema import schedule

_DIALECTS = {
    "sqlite": ("sqlite", "sqlite"),
    "postgresql": ("postgres", "postgres"),
    "postgres": ("postgres", "postgres"),
}


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="allow")


class Database(_Lenient):
    url: str

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        """SQLAlchemy names a driver (``sqlite+pysqlite``), and reads over blanks around it."""
        return re.sub(r"^sqlite\+\w+:", "sqlite:", value.strip())


class Notify(_Lenient):
    channel: Literal["email", "slack", "webhook"]
    recipients: list[str] | None = None
    subject: str | None = None
    webhook_url: str | None = None
    url: str | None = None
    method: str = "POST"
    headers: dict[str, str] = {}

    @field_validator("method")
    @classmethod
    def _method(cls, value: str) -> str:
        if value.upper() not in ("GET", "POST", "PUT", "PATCH"):
            raise ValueError(f"{value!r} is no method for a webhook; use POST, PUT, PATCH or GET")
        return value.upper()


class Alert(_Lenient):
    name: str = Field(min_length=1)
    description: str | None = None
    query: str = Field(min_length=1)
    schedule: str
    notify: list[Notify] = []
    enabled: bool = True

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str) -> str:
        return schedule(value)

    @field_validator("query")
    @classmethod
    def _text(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the query is empty")
        return value.strip()


class File(_Lenient):
    database: Database
    alerts: list[Alert] = Field(min_length=1)


def is_sqlsentinel(data: Any) -> bool:
    return isinstance(data, dict) and "database" in data and "alerts" in data


def translate(model: File, file: Path, root: Path) -> dict[str, Any]:
    """``{"source": (name, config), "channels": {...}, "alerts": [...]}`` in the project's own terms."""
    name = _source_name(file.relative_to(root))
    connector, dialect = _connector(model.database.url)
    url = _relative(model.database.url, file, root)
    channels: dict[str, Any] = {}
    alerts = []
    for alert in model.alerts:
        names = []
        for index, notify in enumerate(alert.notify):
            channel = f"{alert.name}/{notify.channel}" + (f"-{index + 1}" if index else "")
            channels[channel] = _channel(notify, alert.name)
            names.append(channel)
        alerts.append(
            {
                "name": alert.name,
                "description": alert.description or "",
                "query": alert.query,
                "schedule": alert.schedule,
                "notify": names,
                "enabled": alert.enabled,
                "dialect": dialect,
                "private_source": name,
                "recovered": False,
            }
        )
    return {"source": (name, {"connector": connector, "url": url}), "channels": channels, "alerts": alerts}


def _source_name(file: Path) -> str:
    """Of no two files the same: what the name of a file loses is made up for by a digest of it."""
    name = re.sub(r"\W+", "_", file.stem).lower()
    if file.as_posix() == f"alerts/{name}.yaml":
        return f"_{name}"
    return f"_{name}_{hashlib.sha256(file.as_posix().encode()).hexdigest()[:12]}"


_OF_CHANNEL = {
    "email": {"channel", "recipients", "subject"},
    "slack": {"channel", "webhook_url"},
    "webhook": {"channel", "url", "method", "headers"},
}


def without_meaning(model: File) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The keys that are read over, each with the words for what it is a key of."""
    for key in sorted(model.model_extra or {}):
        yield (key,), "file"
    for key in sorted(model.database.model_extra or {}):
        yield ("database", key), "database"
    for index, alert in enumerate(model.alerts):
        for key in sorted(alert.model_extra or {}):
            yield ("alerts", index, key), "alert"
        for place, notify in enumerate(alert.notify):
            for key in sorted(notify.model_fields_set - _OF_CHANNEL[notify.channel]):
                yield ("alerts", index, "notify", place, key), f"channel ({notify.channel})"


def _connector(url: str) -> tuple[str, str]:
    scheme = re.split(r"[+:]", url, maxsplit=1)[0].lower()
    if scheme not in _DIALECTS:
        raise ValueError(f"a database of kind {scheme!r} cannot be read yet; known: sqlite, postgresql")
    return _DIALECTS[scheme]


def _relative(url: str, file: Path, root: Path) -> str:
    """A relative SQLite path was meant from where the tool was run: the project's folder, else the file's own."""
    match = re.fullmatch(r"sqlite:///(?!/)(.+)", url)
    if match is None or (root / match[1]).exists():
        return url
    beside = file.parent / match[1]
    return f"sqlite:///{beside.relative_to(root)}" if beside.exists() and beside.is_relative_to(root) else url


def _channel(notify: Notify, alert: str) -> Mapping[str, Any]:
    if notify.channel == "email":
        if not notify.recipients:
            raise ValueError(f"alert {alert!r}: an email needs `recipients`")
        bad = [r for r in notify.recipients if "@" not in r]
        if bad:
            raise ValueError(f"alert {alert!r}: {bad[0]!r} is no e-mail address")
        options: dict[str, Any] = {"type": "email", "to": notify.recipients}
        if notify.subject:
            options["subject"] = notify.subject
        return options
    if notify.channel == "slack":
        if not (notify.webhook_url or "").startswith("https://hooks.slack.com/"):
            raise ValueError(f"alert {alert!r}: `webhook_url` has to begin with https://hooks.slack.com/")
        return {"type": "slack", "url": notify.webhook_url}
    if not notify.url:
        raise ValueError(f"alert {alert!r}: a webhook needs `url`")
    return {"type": "webhook", "url": notify.url, "method": notify.method, "headers": notify.headers}
