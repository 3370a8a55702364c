"""The YAML documents of a project: read, validated once per change, and turned into frozen values.

Validating needs YAML and pydantic, which cost more than a whole alert. What they made of the documents is kept as
JSON under the documents' digest, so that a process that finds it there imports neither. References stay references
in it (``${NAME}``, ``secret:NAME``): no secret is ever written there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid
from core.model import Channel, DeliveryPolicy, Principal, Rule
from core.stamp import stamp

FILE = "omni.yaml"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """``options`` with environment references resolved; secrets still references."""

    name: str
    connector: str
    options: Mapping[str, Any]
    place: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class PrincipalConfig:
    principal: Principal
    key: str | None


@dataclass(frozen=True, slots=True)
class Defaults:
    timezone: str = "UTC"
    timeout_s: float = 30.0
    max_staleness_ms: int = 0


@dataclass(frozen=True)
class Project:
    """A validated project. Sources and channels resolve their environment references when asked for."""

    root: Path
    digest: str
    document: Mapping[str, Any]
    env: Mapping[str, str]
    alerts: Mapping[str, Rule]
    principals: Mapping[str, PrincipalConfig]
    delivery: DeliveryPolicy
    defaults: Defaults
    network_allow: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def source_names(self) -> list[str]:
        return list(self.document["sources"])

    def source(self, name: str) -> SourceConfig:
        """Raises ConfigInvalid for an unset variable, naming the file, line and key."""
        raw = self.document["sources"][name]
        options = self._resolve(raw["options"], raw["place"], f"sources.{name}")
        return SourceConfig(name, raw["connector"], options, raw["place"], raw.get("private", False))

    def channel(self, name: str) -> Channel:
        raw = self.document["channels"][name]
        options: dict[str, Any] = self._resolve(raw["options"], raw["place"], f"channels.{name}")
        if "port" in options:
            options["port"] = _port(options["port"], f"{raw['place']}: channels.{name}.port")
        return Channel(name, raw["type"], options)

    def channel_names(self) -> list[str]:
        return list(self.document["channels"])

    @property
    def smtp(self) -> Mapping[str, Any]:
        """The mail server: `smtp:` of omni.yaml, else the SMTP_* variables; empty where neither is set."""
        raw = self.document["smtp"]
        if not raw:
            return _smtp_from(self.env)
        options: dict[str, Any] = self._resolve(raw["options"], raw["place"], "smtp")
        if "port" in options:
            options["port"] = _port(options["port"], f"{raw['place']}: smtp.port")
        return options

    def _resolve(self, value: Any, place: str, key: str) -> Any:
        if isinstance(value, str):
            return _REFERENCE.sub(lambda m: self._variable(m, place, key), value)
        if isinstance(value, list):
            return [self._resolve(item, place, key) for item in value]
        if isinstance(value, dict):
            return {k: self._resolve(item, place, f"{key}.{k}") for k, item in value.items()}
        return value

    def _variable(self, match: re.Match[str], place: str, key: str) -> str:
        found = self.env.get(match[1])
        if found is None:
            found = match[2]
        if found is None:
            file, _, line = place.rpartition(":")
            raise ConfigInvalid(
                f"{place}: {key}: the environment variable {match[1]} is not set. Set it, or write "
                f"${{{match[1]}:-default}}.",
                file=file,
                line=int(line),
                key=key,
                variable=match[1],
            )
        return found


def _smtp_from(env: Mapping[str, str]) -> Mapping[str, Any]:
    if not env.get("SMTP_HOST"):
        return {}
    options: dict[str, Any] = {"host": env["SMTP_HOST"]}
    if env.get("SMTP_PORT"):
        options["port"] = _port(env["SMTP_PORT"], "SMTP_PORT")
    options["tls"] = "none" if env.get("SMTP_USE_TLS", "true").lower() in ("false", "0", "no") else "starttls"
    for key, name in (("user", "SMTP_USERNAME"), ("password", "SMTP_PASSWORD"), ("from", "SMTP_FROM_ADDRESS")):
        if env.get(name):
            options[key] = env[name]
    return options


def _port(value: Any, where: str) -> int:
    text = str(value)
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise ConfigInvalid(f"{where} has to be a port, a number from 1 to 65535.", key="smtp.port")
    return int(text)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────


def find(start: Path) -> Path:
    """The folder of the nearest omni.yaml at ``start`` or above. Raises ConfigInvalid."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / FILE).is_file():
            return folder
    raise ConfigInvalid(f"No {FILE} in {start.resolve()} or above it. `omni init DIR` makes a project.", file=FILE)


def load(folder: Path, env: Mapping[str, str], *, cache: Path | None = None) -> Project:
    """Read and validate the project in ``folder``. ``cache``: folder for what validation made, or None.

    Raises ConfigInvalid with file, line, key and, for an unknown key, the nearest known one.
    """
    root = folder.resolve()
    files = read(root)
    digest = _digest(files)
    document = _cached(cache, digest)
    if document is None:
        from core import validate

        # Through JSON, so that a fresh reading and a kept one are the same to the letter.
        document = json.loads(json.dumps(validate.document(root, files)))
        if cache is not None:
            _keep(cache, digest, document)
    return from_document(root, digest, document, env)


def read(root: Path) -> list[tuple[str, bytes]]:
    """(relative name, bytes) of every YAML document. Raises ConfigInvalid where there is no project."""
    files = list(_files(root))
    if not any(name == FILE for name, _ in files):
        raise ConfigInvalid(f"{root / FILE} is not there. `omni init DIR` makes a project.", file=FILE)
    return files


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    """(relative name, bytes) of every YAML document, sorted."""
    patterns = (
        FILE,
        "policies/*.yaml",
        "policies/*.yml",
        "alerts/*.yaml",
        "alerts/*.yml",
        "connectors/*/connector.yaml",
    )
    for path in sorted({p for pattern in patterns for p in root.glob(pattern) if p.is_file()}):
        name = path.relative_to(root).as_posix()
        try:
            yield name, path.read_bytes()
        except OSError as error:
            raise ConfigInvalid(f"{name} cannot be read: {error.strerror}.", file=name) from None


def _digest(files: list[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, body in files:
        total.update(f"{name}\0{len(body)}\0".encode())
        total.update(body)
    return total.hexdigest()


def _stamp() -> str:
    return stamp("validate.py", "schema.py", "sqlsentinel.py", "project.py", "yaml_places.py")


def _cached(cache: Path | None, digest: str) -> dict[str, Any] | None:
    if cache is None:
        return None
    try:
        kept = json.loads((cache / f"project-{digest[:16]}.json").read_bytes())
    except (OSError, ValueError):
        return None  # not there, or cut short: validate again
    if not isinstance(kept, dict) or kept.get("digest") != digest or kept.get("stamp") != _stamp():
        return None
    document: dict[str, Any] = kept["document"]
    return document


def _keep(cache: Path, digest: str, document: dict[str, Any]) -> None:
    """Write atomically; a cache that cannot be written costs time only."""
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in cache.glob("project-*.json"):
            old.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(dir=cache)
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps({"digest": digest, "stamp": _stamp(), "document": document}).encode())
        Path(name).replace(cache / f"project-{digest[:16]}.json")
    except OSError:
        return


# ── document -> values ───────────────────────────────────────────────────────────────────────────────────────────


def from_document(root: Path, digest: str, document: Mapping[str, Any], env: Mapping[str, str]) -> Project:
    """Frozen values from what validation made (``validate.document``)."""
    defaults = Defaults(**document["defaults"])
    principals = {
        name: PrincipalConfig(principal(name, raw), raw.get("key")) for name, raw in document["principals"].items()
    }
    alerts = {raw["name"]: _rule(raw, defaults, principals) for raw in document["alerts"]}
    return Project(
        root=root,
        digest=digest,
        document=document,
        env=env,
        alerts=alerts,
        principals=principals,
        delivery=DeliveryPolicy(**document["delivery"]),
        defaults=defaults,
        network_allow=tuple(document["network_allow"]),
        notes=tuple(document["notes"]),
    )


def principal(name: str, raw: Mapping[str, Any]) -> Principal:
    return Principal(
        name=name,
        roles=frozenset(raw.get("roles", ())),
        teams=tuple(raw.get("teams", ())),
        tenant=raw.get("tenant", "default"),
        attributes=raw.get("attributes", {}),
    )


def _rule(raw: Mapping[str, Any], defaults: Defaults, principals: Mapping[str, PrincipalConfig]) -> Rule:
    who = raw["as"]
    if isinstance(who, str):
        asker = principals[who].principal
    elif who is None:
        asker = Principal(name=f"alert:{raw['name']}")
    else:
        asker = principal(who["name"], who)
    return Rule(
        name=raw["name"],
        query=raw["query"],
        schedule=raw["schedule"],
        timezone=raw["timezone"] or defaults.timezone,
        principal=asker,
        channels=tuple(raw["notify"]),
        pending_for=raw["for"],
        of=tuple(raw["of"]) if raw["of"] else None,
        key=tuple(raw["key"]),
        severity=raw["severity"],
        repeat_every=raw["repeat_every"],
        on_error=raw["on_error"],
        no_data=raw["no_data"],
        recovered=raw["recovered"],
        timeout_s=raw["timeout"] or defaults.timeout_s,
        dialect=raw["dialect"],
        description=raw["description"],
        runbook=raw["runbook"],
        labels=raw["labels"],
        enabled=raw["enabled"],
        private_source=raw.get("private_source"),
        place=raw["place"],
    )
