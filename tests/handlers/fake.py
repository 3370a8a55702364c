"""A ten-line App: remembers what it was asked, and fails as told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from core.errors import Unauthenticated
from core.model import Answer, Ask, Principal

PEOPLE = {
    "viewer-key": Principal("ann", frozenset({"viewer"}), ("a",)),
    "operator-key": Principal("ops", frozenset({"operator"})),
    "admin-key": Principal("root", frozenset({"admin"})),
}
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)


class FakeApp:
    """``fail``: raised by every verb."""

    def __init__(self, fail: BaseException | None = None) -> None:
        self.fail = fail
        self.asked: list[Any] = []
        self.result: bytes | None = None
        self.time_left_s: float | None = None

    def _told(self, *what: Any) -> None:
        self.asked.append(what)
        if self.fail is not None:
            raise self.fail

    def authenticate(self, bearer: str) -> Principal:
        if bearer not in PEOPLE:
            raise Unauthenticated("Unknown key.")
        return PEOPLE[bearer]

    def request(self, sql: str, principal: Principal, **options: Any) -> Ask:
        return Ask(sql=sql, principal=principal, now=NOW, **options)

    def ask(self, ask: Ask, progress: Any = None) -> Answer:
        self._told("ask", ask)
        return Answer((("n", "INTEGER"),), [(1,)], trace_id=ask.request_id)

    def submit(self, ask: Ask) -> dict[str, Any]:
        self._told("submit", ask)
        return {"job_id": "j1", "state": "QUEUED"}

    def job(self, job: str, principal: Principal) -> dict[str, Any]:
        self._told("job", job, principal.name)
        return {"job_id": job, "state": "QUEUED" if self.result is None else "DONE"}

    def job_result(self, job: str, principal: Principal) -> bytes | None:
        self._told("job_result", job, principal.name)
        return self.result

    def work(self, message: object, time_left_s: float | None = None) -> dict[str, Any]:
        self._told("work", message, time_left_s)
        return {"job": "j1", "state": "DONE"}

    def explain(self, ask: Ask) -> dict[str, Any]:
        self._told("explain", ask)
        return {"plan": "..."}

    def tables(self, principal: Principal, source: str | None = None) -> list[dict[str, Any]]:
        self._told("tables", principal.name, source)
        return [{"table": "shop.orders"}]

    def describe(self, principal: Principal, name: str) -> dict[str, Any]:
        self._told("describe", principal.name, name)
        return {"table": name}

    def watch(
        self,
        name: str,
        slot: datetime | None,
        *,
        dry_run: bool = False,
        wait_s: float = 0.0,
        time_left_s: float | None = None,
    ) -> dict[str, Any]:
        self.time_left_s = time_left_s
        self._told("watch", name, slot, dry_run)
        return {"alert": name, "slot": None, "outcome": "OK"}

    def sweep(self, time_left_s: float | None = None) -> dict[str, Any]:
        self.time_left_s = time_left_s
        self._told("sweep")
        return {"drained": 0, "delivered": 0, "owed": 0, "missed": [], "ran": [], "errors": []}

    def alerts(self) -> list[dict[str, Any]]:
        self._told("alerts")
        return [{"name": "revenue"}]

    def alert(self, name: str) -> dict[str, Any]:
        self._told("alert", name)
        return {"name": name}

    def history(self, name: str, limit: int) -> list[dict[str, Any]]:
        self._told("history", name, limit)
        return []

    def silence(self, name: str, seconds: float, because: str, by: str) -> dict[str, Any]:
        self._told("silence", name, seconds, because, by)
        return {"alert": name}

    def unsilence(self, name: str, by: str = "") -> dict[str, Any]:
        self._told("unsilence", name, by)
        return {"alert": name}
