"""YAML documents -> one plain document, every mistake with its file, line and key.

Split from ``project`` so that a process whose project is already known imports neither YAML nor pydantic.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel

from core import sqlsentinel
from core.errors import ConfigInvalid
from core.schema import CHANNELS, AlertModel, PolicyModel, ProjectModel
from core.yaml_places import Key, Places, invalid, load

M = TypeVar("M", bound=BaseModel)

LATER = {
    "escalate": "escalations",
    "mute": "quiet hours",
    "depends_on": "dependencies between alerts",
    "store": "other stores than this machine's and the cloud's own",
    "tenants": "tenants with settings of their own",
}


def document(root: Path, files: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    """Validate all documents; raises the first ConfigInvalid."""
    result = _empty()
    for name, body in files:
        _add(result, root, name, body)
    _cross_check(result)
    _note_private_webhooks(result)
    return result


def errors(root: Path, files: Sequence[tuple[str, bytes]]) -> list[ConfigInvalid]:
    """The first error of every document, so that a person mends them in one go."""
    result, found = _empty(), []
    for name, body in files:
        try:
            _add(result, root, name, body)
        except ConfigInvalid as error:
            found.append(error)
    if not found:
        try:
            _cross_check(result)
        except ConfigInvalid as error:
            found.append(error)
    return found


def _empty() -> dict[str, Any]:
    return {"sources": {}, "channels": {}, "policies": [], "alerts": [], "notes": []}


def _add(result: dict[str, Any], root: Path, name: str, body: bytes) -> None:
    if name.startswith("connectors/"):
        return  # the registry reads those
    data, places = load(body, name)
    if name == "omni.yaml":
        _not_yet(data, name, places, ())
        _omni(result, _model(ProjectModel, data, name, places), places)
    elif name.startswith("policies/"):
        for raw, path in _listed(data, "policies"):
            result["policies"].append(_policy(_model(PolicyModel, raw, name, places, path), name, places.line(path)))
    elif sqlsentinel.is_sqlsentinel(data):
        _sentinel(result, data, root, name, places)
    else:
        for raw, path in _listed(data, "alerts"):
            _not_yet(raw, name, places, path)
            model = _model(AlertModel, raw, name, places, path)
            result["alerts"].append(_alert(model, name, places.line(path)))


def _model(model: type[M], data: Any, name: str, places: Places, path: Key = ()) -> M:
    from pydantic import ValidationError

    if not isinstance(data, dict):
        line = places.line(path)
        what = "is empty" if data is None else "has to be a mapping of keys to values"
        raise ConfigInvalid(f"{name}:{line}: the document {what}.", file=name, line=line)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(error, name, places, model, path) from None


def _listed(data: Any, key: str) -> list[tuple[Any, Key]]:
    """One document, or a list of them under ``key`` or at the top."""
    if isinstance(data, dict) and set(data) == {key} and isinstance(data[key], list):
        return [(item, (key, index)) for index, item in enumerate(data[key])]
    if isinstance(data, list):
        return [(item, (index,)) for index, item in enumerate(data)]
    return [(data, ())]


# ── omni.yaml ────────────────────────────────────────────────────────────────────────────────────────────────────


def _omni(result: dict[str, Any], model: ProjectModel, places: Places) -> None:
    for section, names in (("sources", model.sources), ("channels", model.channels)):
        kind = "connector" if section == "sources" else "type"
        for name, entry in names.items():
            raw = entry.model_dump()
            place = f"omni.yaml:{places.line((section, name))}"
            result[section][name] = {kind: raw.pop(kind), "options": raw, "place": place}
    for name in model.channels:
        raw = {"type": model.channels[name].type, **(model.channels[name].model_extra or {})}
        checked = _model(CHANNELS[model.channels[name].type], raw, "omni.yaml", places, ("channels", name))
        options = checked.model_dump(by_alias=True, exclude_none=True)
        result["channels"][name]["options"] = {k: v for k, v in options.items() if k != "type"}
    result["principals"] = {name: p.model_dump() for name, p in model.principals.items()}
    result["network_allow"] = model.network.allow
    result["delivery"] = model.delivery.model_dump()
    defaults = model.defaults
    result["defaults"] = {
        "timezone": defaults.timezone,
        "timeout_s": defaults.timeout,
        "max_staleness_ms": round(defaults.max_staleness * 1000),
    }
    smtp = model.smtp.model_dump(by_alias=True, exclude_none=True) if model.smtp else None
    result["smtp"] = {"options": smtp, "place": f"omni.yaml:{places.line(('smtp',))}"} if smtp else None


# ── policies ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _policy(model: PolicyModel, name: str, line: int) -> dict[str, Any]:
    return {
        "table": model.table,
        "rows": [{"roles": r.roles, "where": r.where} for r in model.rows],
        "columns": {c: m.model_dump() for c, m in model.columns.items()},
        "tests": [t.model_dump() for t in model.tests],
        "place": f"{name}:{line}",
    }


# ── alerts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _not_yet(raw: Any, name: str, places: Places, path: Key) -> None:
    for key in LATER:
        if isinstance(raw, dict) and key in raw:
            line = places.line((*path, key))
            raise ConfigInvalid(
                f"{name}:{line}: {key}: {LATER[key]} are not supported in this version. Remove the key.",
                file=name,
                line=line,
                key=key,
            )


def _alert(model: AlertModel, name: str, line: int) -> dict[str, Any]:
    raw = model.model_dump(by_alias=True)
    raw["place"] = f"{name}:{line}"
    return raw


def _sentinel(result: dict[str, Any], data: Any, root: Path, name: str, places: Places) -> None:
    model = _model(sqlsentinel.File, data, name, places)
    try:
        found = sqlsentinel.translate(model, root / name, root)
    except ValueError as error:
        raise ConfigInvalid(f"{name}:{places.line(('alerts',))}: {error}.", file=name, line=places.line(())) from None
    source, config = found["source"]
    place = f"{name}:{places.line(('database',))}"
    result["sources"][source] = {
        "connector": config.pop("connector"),
        "options": config,
        "place": place,
        "private": True,
    }
    for channel, options in found["channels"].items():
        result["channels"][channel] = {"type": options.pop("type"), "options": options, "place": place}
    for index, alert in enumerate(found["alerts"]):
        line = places.line(("alerts", index))
        private, recovered = alert.pop("private_source"), alert.pop("recovered")
        base = AlertModel.model_construct(name="", query="").model_dump(by_alias=True)
        result["alerts"].append(
            {**base, **alert, "private_source": private, "recovered": recovered, "place": f"{name}:{line}"}
        )
    for path, what in sqlsentinel.without_meaning(model):
        result["notes"].append(
            f"{name}:{places.line(path)}: the key {path[-1]!r} of a sqlsentinel {what} has no meaning here"
        )


# ── what one document says of another ────────────────────────────────────────────────────────────────────────────


def _cross_check(result: Mapping[str, Any]) -> None:
    seen: dict[str, str] = {}
    for alert in result["alerts"]:
        name, place = alert["name"], alert["place"]
        if name in seen:
            raise _at(place, f"the alert name {name!r} is taken by {seen[name]}; alert names are unique", "name")
        seen[name] = place
        for channel in alert["notify"]:
            if channel not in result["channels"]:
                raise _at(
                    place, f"notify: there is no channel {channel!r}{_near(channel, result['channels'])}", "notify"
                )
        if isinstance(alert["as"], str) and alert["as"] not in result["principals"]:
            raise _at(
                place, f"as: there is no principal {alert['as']!r}{_near(alert['as'], result['principals'])}", "as"
            )


def _note_private_webhooks(result: dict[str, Any]) -> None:
    """Webhooks that will not be called: their host is a private address that network.allow does not name."""
    for name, channel in result["channels"].items():
        url = channel["options"].get("url") if channel["type"] == "webhook" else None
        host = _private_host(url) if isinstance(url, str) else None
        if host is not None and not _allows(result.get("network_allow", ()), host):
            result["notes"].append(
                f"{channel['place']}: the channel {name!r} will not be called: {host} is not public; "
                f"`network: {{allow: ['{host}']}}` in omni.yaml lets it"
            )


def _private_host(url: str) -> str | None:
    try:
        host = urlsplit(url).hostname or ""
        return host if host == "localhost" or not ipaddress.ip_address(host).is_global else None
    except ValueError:
        return None  # a name, or nothing that can be read: that shows when it is called


def _allows(allowed: Sequence[str], host: str) -> bool:
    address = "127.0.0.1" if host == "localhost" else host
    for entry in allowed:
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            if entry.lower() == host:
                return True
    return False


def _near(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known)) or 'none'}"


def _at(place: str, text: str, key: str) -> ConfigInvalid:
    file, _, line = place.rpartition(":")
    return ConfigInvalid(f"{place}: {text}" + ("" if text.endswith("?") else "."), file=file, line=int(line), key=key)
