"""`omni alert ...` and `omni sweep`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from core.alert.dead import put_off, sentence
from core.alert.slot import iso
from core.errors import ConfigInvalid, Error
from handlers.local.cli_common import duration, open_app, print_json, print_rows, say, wants_json

WAIT_S = 10.0
"""How long a run waits for another that holds the alert."""


def list_(options: argparse.Namespace) -> int:
    app = open_app(options)
    found = app.alerts()
    if wants_json(options):
        print_json({"alerts": found})
        return 0
    rows = [
        [
            a["alert"],
            a["schedule"] or "-",
            a["timezone"],
            "removed" if a.get("removed") else "yes" if a["enabled"] else "no",
            a["next_slot"] or "-",
            a["state"] or "never ran",
        ]
        for a in found
    ]
    print_rows(["alert", "schedule", "timezone", "enabled", "next", "state"], rows)
    return 0


def status(options: argparse.Namespace) -> int:
    app = open_app(options)
    found = [app.alert(options.name)] if options.name else app.alerts()
    if wants_json(options):
        print_json(found[0] if options.name else {"alerts": found})
        return 0
    rows = [
        [
            a["alert"] + " (removed)" * a.get("removed", False),
            a["state"] or "never ran",
            a["outcome"] or "-",
            a["slot"] or "-",
            len(a["owed"]),
            len(a["dead"]),
            a["silence"]["until"] if a["silence"] else "-",
        ]
        for a in found
    ]
    print_rows(["alert", "state", "last outcome", "last slot", "owed", "dead", "silenced until"], rows)
    if options.name:
        _print_troubles(found[0])
    return 0


def show(options: argparse.Namespace) -> int:
    app = open_app(options)
    found = app.alert(options.name)
    if wants_json(options):
        print_json(found)
        return 0
    for key in (
        "alert",
        "description",
        "place",
        "schedule",
        "timezone",
        "next_slot",
        "channels",
        "state",
        "outcome",
        "slot",
    ):
        value = found.get(key)
        _say_fact(key, ", ".join(value) if isinstance(value, list) else "-" if value in (None, "") else value)
    for instance in found["instances"]:
        key = ", ".join(f"{k}={v}" for k, v in instance["key"].items()) or "(all)"
        say(f"  {key}: {instance['state']}{_values(instance)}")
    _print_troubles(found)
    say("\n" + found["query"].rstrip())
    return 0


def _print_troubles(found: dict[str, Any]) -> None:
    """What somebody who is called at night wants to know besides the state."""
    health, silence, missed = found["health"], found["silence"], found["missed"]
    if health:
        _say_fact("health", f"{health['state']} since {health['since']}")
    if found["error"]:
        _say_fact("error", f"{found['error']['code']}: {found['error']['message']}")
    for warning in found["warnings"]:
        _say_fact("warning", warning)
    if missed:
        _say_fact("missed", f"{missed['count']} runs from {missed['first']} to {missed['last']}")
    if silence:
        _say_fact("silence", f"until {silence['until']} by {silence['by'] or '-'}: {silence['because']}")
    if found["held_by"]:
        _say_fact("held by", found["held_by"])
    for owed in found["owed"]:
        _say_fact("owed", _owed(owed))
    for entry in found["dead"]:
        error = entry["error"]
        what = f"{entry['kind']} to {entry['channel']}, given up at {entry['at']} (attempts: {entry['attempts']})"
        _say_fact("dead", f"{what}: {error['code']}: {error['message']}")


def _owed(owed: dict[str, Any]) -> str:
    text = f"{owed['kind']} to {owed['channel']}"
    if owed.get("held"):
        text += ", held by the silence"
    elif owed["status"] == "sending":
        text += ", being sent"
    elif owed["attempts"]:
        text += f", attempts: {owed['attempts']}, next not before {iso(datetime.fromtimestamp(owed['at'], UTC))}"
    error = owed.get("error")
    return f"{text}: {error['code']}: {error['message']}" if error else text


def _say_fact(name: str, value: Any) -> None:
    say(f"{name + ':':<13}{value}")


def history(options: argparse.Namespace) -> int:
    app = open_app(options)
    found = app.history(options.name, options.limit)
    if wants_json(options):
        print_json({"history": found})
        return 0
    print_rows(["at", "kind", "slot", "outcome", "details"], [_history_row(record) for record in found])
    return 0


def _history_row(record: dict[str, Any]) -> list[Any]:
    outcome = record.get("outcome") or record.get("status") or "-"
    return [record.get("at", "-"), record.get("kind", "-"), record.get("slot", "-"), outcome, _details(record)]


def _details(record: dict[str, Any]) -> str:
    kind, error = record.get("kind"), record.get("error")
    if kind == "run" and error:
        parts = []
    elif kind == "run":
        parts = [f"{count} {state}" for state, count in record["counts"].items()]
        parts += [f"actual {record['actual_value']}"] if record.get("actual_value") is not None else []
        parts += [f"events {len(record['events'])}"] if record["events"] else []
    elif kind == "delivery":
        parts = [f"{record['about']} to {record['channel']}", f"attempts {record['attempts']}"]
        parts += [record["detail"]] if record.get("detail") else []
    elif kind == "missed":
        parts = [f"{record['count']} runs from {record['first']} to {record['last']}"]
    else:
        parts = [f"{k} {record[k]}" for k in ("until", "by", "because") if record.get(k)]
    return ", ".join([*parts, f"{error['code']}: {error['message']}"] if error else parts)


def run(options: argparse.Namespace) -> int:
    if bool(options.name) == options.all:
        raise ConfigInvalid("Name one alert, or say --all.", key="name")
    app = open_app(options)
    slot = _time(options.slot) if options.slot else None
    if not options.all:
        result = app.watch(options.name, slot, dry_run=options.dry_run, wait_s=WAIT_S)
        print_json(result) if wants_json(options) else _print_run(result)
        _complain_of_dead(result)
        return _exit_code(result, options.exit_status)
    results = [
        _one_of_all(app, rule.name, slot, options.dry_run) for rule in app.project.alerts.values() if rule.enabled
    ]
    if wants_json(options):
        print_json({"alerts": results})
    else:
        for result in results:
            _print_run(result)
    for result in results:
        _complain_of_dead(result)
    return max((_exit_code(result, options.exit_status) for result in results), default=0)


def _one_of_all(app: Any, name: str, slot: datetime | None, dry_run: bool) -> dict[str, Any]:
    """One alert's trouble must not keep the others from their turn."""
    try:
        result: dict[str, Any] = app.watch(name, slot, dry_run=dry_run, wait_s=WAIT_S)
        return result
    except Error as error:
        problem = {"code": error.code, "message": error.message}
        return {
            "alert": name,
            "outcome": "ERROR",
            "instances": [],
            "events": [],
            "state": None,
            "delivered": 0,
            "owed": 0,
            "dead": 0,
            "error": problem,
        }


def _exit_code(result: dict[str, Any], exit_status: bool) -> int:
    """An alert that fires is done (0). One that could not be judged is not: the code of its error."""
    error = result.get("error")
    if result["outcome"] == "ERROR" and error:
        return exit_code_of(error.get("code", ""))
    return 1 if exit_status and not _is_good(result) else 0


def _is_good(result: dict[str, Any]) -> bool:
    """No row is good where the alert's `no_data` says so; a message that nobody gets never is."""
    fine = result["outcome"] == "OK" or (result["outcome"] == "NO_DATA" and result["state"] == "OK")
    return fine and not result["dead"]


def exit_code_of(code: str) -> int:
    stack: list[type[Error]] = [Error]
    while stack:
        cls = stack.pop()
        if cls.__dict__.get("code") == code:
            return cls.exit_code
        stack += cls.__subclasses__()
    return 4


def _print_run(result: dict[str, Any]) -> None:
    extra = f" ({result['skipped']})" if result.get("skipped") else " (dry run)" if result.get("dry_run") else ""
    say(f"{result['alert']}: {result['outcome']}{extra}")
    for instance in result["instances"]:
        key = ", ".join(f"{k}={v}" for k, v in instance["key"].items())
        change = (
            f"{instance['previous_state']} -> {instance['state']}"
            if instance["previous_state"] != instance["state"]
            else instance["state"]
        )
        say(f"  {key + ': ' if key else ''}{change}{_values(instance)}")
    for event in result.get("would_send", []):
        say(f"  would send: {event['kind']} {event['id']}")
    for event in result["events"]:
        if event["channels"] and not result.get("dry_run"):
            say(f"  {_told(event)} -> {', '.join(event['channels'])}")
    if result["delivered"] or result["owed"] or result["dead"]:
        say(f"  {_counts(result)}")
    for warning in result.get("warnings", []):
        _complain(f"warning: {result['alert']}: {warning}")
    if result.get("error"):
        _complain(f"error: {result['alert']}: {result['error']['code']}: {result['error']['message']}")


def _values(instance: dict[str, Any]) -> str:
    shown = {"actual": instance["actual_value"], "threshold": instance["threshold"]}
    return "".join(f", {name} {value}" for name, value in shown.items() if value is not None)


def _told(event: dict[str, Any]) -> str:
    from urllib.parse import unquote

    instance = unquote(event["id"].split("/")[1])
    return event["kind"] if instance == "-" else f"{event['kind']} {instance}"


def _counts(result: dict[str, Any]) -> str:
    dead = f", dead {result['dead']}" if result["dead"] else ""
    return f"delivered {result['delivered']}, owed {result['owed']}{dead}"


def _complain_of_dead(result: dict[str, Any]) -> None:
    """Said in text and JSON mode: nobody else is told."""
    for entry in result.get("given_up", []):
        _complain(f"error: {sentence(entry)}")
    for entry in result.get("put_off", []):
        _complain(f"warning: {put_off(entry)}")


def _complain(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")


def silence(options: argparse.Namespace) -> int:
    app = open_app(options)
    result = app.silence(options.name, duration(options.for_, "--for"), options.because, _me())
    print_json(result) if wants_json(options) else say(f"{result['alert']} is silent until {result['until']}.")
    return 0


def unsilence(options: argparse.Namespace) -> int:
    app = open_app(options)
    result = app.unsilence(options.name, _me())
    text = "tells again" if result["was_silenced"] else "was not silenced"
    print_json(result) if wants_json(options) else say(f"{result['alert']} {text}.")
    return 0


def sweep(options: argparse.Namespace) -> int:
    app = open_app(options)
    result = app.sweep()
    if wants_json(options):
        print_json(result)
    else:
        say(f"{_counts(result)}, ran {', '.join(result['ran']) or 'nothing'}")
        if result["missed"]:
            say(f"missed slots of: {', '.join(result['missed'])}")
        for error in result["errors"]:
            _complain(f"error: {error['alert']}: {error['code']}: {error['message']}")
    _complain_of_dead(result)
    lost = 1 if options.exit_status and result["dead"] else 0
    return max((exit_code_of(e["code"]) for e in result["errors"]), default=lost)


def _me() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigInvalid(f"--slot {text!r} is no time. Write it as 2026-01-31T09:00:00Z.", key="--slot") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
