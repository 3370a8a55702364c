"""What happened to an alert, newest first: runs, deliveries, silences. Kept for a while, then it expires by itself.

A record's key is when it happened (its ``at``), also where it is about an older slot.

Records (JSON-ready) have ``kind`` and ``at``:
    run       slot, outcome, counts {state: n}, actual_value, threshold (of the only instance), events [ids], error?
    missed    count, first, last
    delivery  id, channel, alert kind ``about``, status sent | dead | silenced | superseded, attempts,
              detail? (what the channel said), error?, event? (of a dead one, whole)
    silence   until, because, by · unsilence  by
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from core.alert.event import Event
from core.alert.slot import parse, stamp
from core.ports import Put, Store

FIRST, LAST = "history/", "history0"
EARLY = timedelta(minutes=5)
"""How long before its time a slot may be judged: schedulers' clocks differ."""
QUIET_DAYS = 14
DAYS = 90
_PAGE = 100

Record = dict[str, Any]


def entry(at: datetime, fence: int, number: int, record: Record, *, quiet: bool = False) -> Put:
    """The change that stores what happened just now, ``at``; fence and number make its key unique."""
    days = QUIET_DAYS if quiet else DAYS
    return Put(f"{FIRST}{stamp(at)}/{fence:08d}-{number:04d}", record, expires_at=at.timestamp() + days * 86_400)


def of_run(item: Mapping[str, Any], events: Sequence[Event], at: str) -> Record:
    """The record of one judged slot."""
    instances = item["instances"]
    counts: dict[str, int] = {}
    for instance in instances.values():
        counts[instance["state"]] = counts.get(instance["state"], 0) + 1
    record: Record = {
        "kind": "run",
        "at": at,
        "slot": item["slot"],
        "outcome": item["outcome"],
        "counts": counts,
        "events": [e["id"] for e in events[:100]],
    }
    if len(instances) == 1:
        (only,) = instances.values()
        record.update(actual_value=only["actual_value"], threshold=only["threshold"])
    if "error" in item:
        record["error"] = item["error"]
    return record


def read(store: Store, partition: str, limit: int) -> list[Record]:
    """The newest ``limit`` records, newest first."""
    return [dict(i.body) for i in store.query(partition, FIRST, LAST, limit=limit, descending=True)]


def of_slot(store: Store, partition: str, slot: datetime) -> Record | None:
    """The record of the run at ``slot``, as long as it is kept.

    Slots are judged in order and not before their time, so it is among the first runs from then on.
    """
    first = f"{FIRST}{stamp(slot - EARLY)}"
    while found := store.query(partition, first, LAST, limit=_PAGE):
        for item in found:
            if item.body.get("kind") == "run" and parse(item.body["slot"]) >= slot:
                return dict(item.body) if parse(item.body["slot"]) == slot else None
        first = found[-1].key + "!"
    return None
