"""The sweep: deliver what is due for every alert ever known, free dead leases, find the slots that nobody ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, Any

from core.alert import schedule, state
from core.alert.deliver import Delivered, log_defect
from core.alert.outbox import Outbox, View
from core.alert.slot import iso, parse
from core.errors import Error, Internal, StateConflict
from core.model import Rule

if TYPE_CHECKING:
    from core.alert.run import Watcher

GRACE = timedelta(seconds=60)
"""How late a trigger may come before the sweep runs the slot itself."""

CATCH_UP = timedelta(days=1)
"""The latest missed slot is still run within this time; older ones are only recorded."""

_MAX_MISSED = 1_000
_READERS = 8


def sweep(watcher: Watcher, rules: Sequence[Rule], now: datetime) -> dict[str, Any]:
    """Return {"drained", "delivered", "owed", "dead", "missed": [names], "ran": [names], "errors": [{alert, code,
    message}], "given_up"?: [entries of ``core.alert.dead``]}.

    ``drained``: alerts with something due. One alert's error never keeps the others from their turn.
    """
    out: dict[str, Any] = {"drained": 0, "delivered": 0, "owed": 0, "dead": 0, "missed": [], "ran": [], "errors": []}
    watcher.register(rules)
    known = watcher.outbox.known()
    by_name = {rule.name: rule for rule in rules}
    seen = _read(watcher.outbox, sorted(known))
    for name, since in sorted(known.items()):
        try:
            _sweep_one(watcher, seen[name], by_name.get(name), since, now, out)
        except StateConflict:
            continue  # a run holds it and does what is due itself
        except Error as error:
            out["errors"].append({"alert": name, "code": error.code, "message": error.message})
        except Exception as error:  # noqa: BLE001 one alert's defect must not stop the sweep of the others
            log_defect(f"sweeping alert {name}", error)
            text = f"Unexpected {type(error).__name__}; the log says where."
            out["errors"].append({"alert": name, "code": Internal.code, "message": text})
    return out


def _read(outbox: Outbox, names: Sequence[str]) -> dict[str, View | Exception]:
    """Every alert as it is, or why it cannot be read. Most have nothing to do, and a cloud's store answers each in
    milliseconds: some threads take that out of each minute. What is done about a view fails where it is out of date."""
    found: dict[str, View | Exception] = {}

    def some(part: Sequence[str]) -> None:
        for name in part:
            try:
                found[name] = outbox.read(name)
            except Exception as error:  # noqa: BLE001 raised again where this alert has its turn
                found[name] = error

    parts = [names[start::_READERS] for start in range(_READERS)] if len(names) > 2 * _READERS else [names]
    others = [Thread(target=some, args=(part,), daemon=True) for part in parts[1:]]
    for thread in others:
        thread.start()
    some(parts[0])
    for thread in others:
        thread.join()
    return found


def _sweep_one(
    watcher: Watcher, seen: View | Exception, rule: Rule | None, since: datetime, now: datetime, out: dict[str, Any]
) -> None:
    if isinstance(seen, Exception):
        raise seen
    view, name = seen, seen.name
    if watcher.delivery.is_due(view):
        out["drained"] += 1
        _count(out, watcher.drain(name))
        view = watcher.outbox.read(name)
    elif view.lease is not None and view.lease.body["holder"] and not watcher.outbox.holder(view):
        watcher.outbox.claim(view, 0.0).release()
        view = watcher.outbox.read(name)
    scheduled = rule is not None and rule.enabled and rule.schedule and not watcher.outbox.holder(view)
    if rule is not None and scheduled and _catch_up(watcher, rule, since, view, now, out):
        view = watcher.outbox.read(name)
    out["owed"] += len(view.owed())


def _catch_up(watcher: Watcher, rule: Rule, since: datetime, view: View, now: datetime, out: dict[str, Any]) -> bool:
    """Run the latest slot that nobody ran, if it is recent; record and tell the ones before it as missed. Whether
    there was anything to do."""
    assert rule.schedule is not None
    due = schedule.previous_at_or_before(rule.schedule, rule.timezone, now - GRACE)
    done = _done_until(view, since)
    if due is None or due <= done:
        return False
    recent = now - due <= CATCH_UP
    skipped = list(islice(schedule.between(rule.schedule, rule.timezone, done, due), _MAX_MISSED))
    if not recent:
        skipped.append(due)
    if skipped:
        _count(out, _record_missed(watcher, rule, view, skipped).facts())
        out["missed"].append(rule.name)
    if recent:
        _count(out, watcher.run(rule, due))
        out["ran"].append(rule.name)
    return True


def _count(out: dict[str, Any], done: Mapping[str, Any]) -> None:
    out["delivered"] += done["delivered"]
    out["dead"] += done["dead"]
    if done["dead"]:
        out["given_up"] = [*out.get("given_up", ()), *done["given_up"]]


def _done_until(view: View, since: datetime) -> datetime:
    item = view.state or {}
    seen = [since]
    if item.get("slot"):
        seen.append(parse(item["slot"]))
    if item.get("missed"):
        seen.append(parse(item["missed"]["last"]))
    return max(seen)


def _record_missed(watcher: Watcher, rule: Rule, view: View, skipped: Sequence[datetime]) -> Delivered:
    item, event = state.missed(view.state, skipped, rule, capped=len(skipped) >= _MAX_MISSED)
    record = {"kind": "missed", "at": iso(watcher.clock()), **event["missed"]}
    with watcher.holding(watcher.outbox.claim(view, 0.0)) as claim:
        claim.commit(item, [event], rule.channels, record)
        return watcher.delivery.drain(claim)
