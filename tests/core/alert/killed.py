"""A process that runs one alert with the laptop's real parts, and stops for good before its n-th write.

python -m tests.core.alert.killed FOLDER URL SLOT STOP_BEFORE_WRITE
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.alert.run import Watcher
from core.alert.slot import parse
from core.deadline import Deadline
from core.model import Channel, DeliveryPolicy, Rule
from core.notify.send import send
from core.ports import Change, Store
from core.settings import Settings
from core.wire import Wire
from handlers.local.platform import platform
from tests.core.alert.parts import ALERT, rule


class StoppingStore:
    """The real store, until the n-th write."""

    def __init__(self, store: Store, stop: int) -> None:
        self._store = store
        self._stop = stop
        self._writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, partition: str, changes: Sequence[Change]) -> Sequence[str]:
        self._writes += 1
        if self._writes == self._stop:
            print("stopped", flush=True)
            time.sleep(600)
        return self._store.write(partition, changes)


RULE: Rule = rule(channels=("hook",), schedule=None)


def watcher(folder: Path, url: str, stop: int = 0) -> Watcher:
    """A watcher as the App makes one, for the project in ``folder``."""
    ports = platform(Settings(), {}, folder)
    wire = Wire(ports.secrets, network_allow=("127.0.0.1",))
    channel = Channel("hook", "webhook", {"url": url})

    def deliver(message: dict[str, Any], name: str, deadline: Deadline) -> object:
        return send(message, channel, secrets=ports.secrets, wire=wire, smtp={}, deadline=deadline)

    store: Any = StoppingStore(ports.store, stop)
    return Watcher(
        store, ports.owner, lambda _: ALERT, deliver, lambda: datetime.now(UTC), DeliveryPolicy(), lease_s=3600.0
    )


if __name__ == "__main__":
    folder, url, slot, stop = sys.argv[1:]
    print(json.dumps(watcher(Path(folder), url, int(stop)).run(RULE, parse(slot))), flush=True)
