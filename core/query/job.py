"""The asynchronous path: a question is kept, put on the queue, answered by **work**, and fetched by who asked it.

What is kept, and in which order it is written, so that whatever is cut off in between is made up for:

    jobs/open       ID   {"submitted_at"}            first: what a sweep looks through for jobs that nobody works on
    job/ID          job  the question and its state  then
    the queue            {"job": ID}                 last; a sweep sends it again where this was cut off
    an object            job/ID/ATTEMPT.json         the answer, before the state says DONE and names it

States: QUEUED -> RUNNING -> DONE | FAILED. A message that comes twice finds the job done, or held by a worker that is
alive, and is done with either way. A worker that died holds its job until its lease ends; then the sweep sends it
again, three times at most.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from core.deadline import Deadline
from core.errors import (
    ConfigInvalid,
    EntitlementDenied,
    Error,
    Internal,
    NotFound,
    ResourceLimit,
    StateConflict,
    by_code,
)
from core.model import Answer, Ask, Principal
from core.ports import ABSENT, Delete, Item, Objects, Owner, Put, Queue, Store
from core.query.job_item import (
    ATTEMPTS,
    check_size,
    held_elsewhere,
    named,
    partition,
    queued,
    status,
    without_answer,
    worn_out,
)
from core.request import new_id

MARGIN_S = 30.0
"""How much longer than its query a worker may hold a job: for storing the answer."""
STORING_S = 10.0
"""Of the worker's time, what a query may not take: its answer has to be encoded and stored."""
FORGOTTEN_S = 60.0
"""A job that is queued for so long without a worker is sent again by the sweep."""
OPEN = "jobs/open"
KEY = "job"
_GRACE_S = 3_600.0  # an entry of OPEN without a job: the process ended between the two writes
_SWEPT = 500
_IDS = "0123456789abcdef"
_LOG = logging.getLogger("omni.jobs")


@dataclass(frozen=True, slots=True)
class Ports:
    """What jobs need of a platform. See ``core.ports.Platform``."""

    store: Store
    objects: Objects
    queue: Queue
    owner: Owner
    answer_bytes: int | None = None
    answer_size: Callable[[bytes], int] = len


class Jobs:
    """``ask`` answers a question as a synchronous one would be; ``principals`` finds who asked, as of now.

    ``rights``: a text that changes with whatever decides what a principal may see. ``ttl_s``: how long a job and its
    answer are kept after it was submitted.
    """

    def __init__(
        self,
        ports: Ports,
        ask: Callable[[Ask], Answer],
        principals: Callable[[str], Principal | None],
        rights: Callable[[Principal], str],
        clock: Callable[[], datetime],
        ttl_s: float,
    ) -> None:
        self._ports = ports
        self._ask = ask
        self._principals = principals
        self._rights = rights
        self._clock = clock
        self._ttl_s = ttl_s
        self._running: dict[str, Item | None] = {}  # what this process works on; None: it is just about to
        self._lock = threading.Lock()

    # ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, ask: Ask) -> dict[str, Any]:
        """Keep the question and put it on the queue; returns its status.

        Raises SqlSyntax and SqlRejected at once, ResourceLimit for a question that is too long to keep, ConfigInvalid
        for a principal that the project does not name, and what the store and the queue raise: then there is no job.
        """
        if self._principals(ask.principal.name) != ask.principal:
            raise ConfigInvalid(
                "A job is run later, with the rights that its principal has in omni.yaml by then: "
                f"there is no principal {ask.principal.name!r} like this one.", key="principal",
            )  # fmt: skip
        _parsed(ask)
        job, now = new_id(), self._now()
        until = now + self._ttl_s
        body: dict[str, Any] = {
            "id": job,
            "state": "QUEUED",
            "principal": ask.principal.name,
            "tenant": ask.principal.tenant,
            "ask": {
                "sql": ask.sql,
                "params": dict(ask.params),
                "dialect": ask.dialect,
                "timezone": ask.timezone,
                "timeout_s": ask.timeout_s,
                "max_staleness_ms": ask.max_staleness_ms,
                "row_limit": ask.row_limit,
            },
            "submitted_at": now,
            "expires_at": until,
            "attempts": 0,
            "holder": "",
            "lease_until": 0.0,
        }
        check_size(body)
        store = self._ports.store
        store.write(OPEN, [Put(job, {"submitted_at": now}, ABSENT, until)])
        store.write(partition(job), [Put(KEY, body, ABSENT, until)])
        try:
            self._ports.queue.send({"job": job})
        except Error:
            store.write(partition(job), [Delete(KEY)])
            store.write(OPEN, [Delete(job)])
            raise
        return status(body)

    def status(self, job: str, principal: Principal) -> dict[str, Any]:
        """The job's status, to who submitted it. NotFound for everybody else, and for one that has expired.

        How large the answer is, and an error's text, are told to who has the rights that it was answered with.
        """
        body = self._owned(job, principal)
        return status(body) if self._same_rights(body, principal) else status(without_answer(body))

    def result(self, job: str, principal: Principal) -> bytes | None:
        """The answer as JSON; None while there is none yet.

        Raises NotFound as ``status``, the job's own error, and EntitlementDenied where the rights that it was answered
        with are not those of now: what a policy has hidden since must not be had from an earlier answer.
        """
        body = self._owned(job, principal)
        if body["state"] in ("DONE", "FAILED") and not self._same_rights(body, principal):
            raise EntitlementDenied("Your rights have changed since this was answered: ask again.")
        if body["state"] == "FAILED":
            raise by_code(body["error"])
        if body["state"] != "DONE":
            return None
        found = self._ports.objects.get(body["object"])
        if found is None:
            raise NotFound("The answer of this job is not there any more: ask again.", job=job)
        return found

    def _same_rights(self, body: Mapping[str, Any], principal: Principal) -> bool:
        """Without rights in it nothing was asked of a source: no error of such a job tells of a row."""
        return "rights" not in body or body["rights"] == self._rights(principal)

    def _owned(self, job: str, principal: Principal) -> Mapping[str, Any]:
        item = self._read(job)
        if item is None or (item.body["tenant"], item.body["principal"]) != (principal.tenant, principal.name):
            raise NotFound("There is no such job: it was never yours, or it has expired.")
        return item.body

    # ── who works ────────────────────────────────────────────────────────────────────────────────────────────────

    def work(self, message: object, time_left_s: float | None = None) -> dict[str, Any]:
        """Do what one message of the queue says. Returning means that the message is done with; raising, that it has
        to come again.

        Returns ``{"job", "state", "skipped"?, "error"?}``: skipped also where another worker holds the job. A message
        that waited for that one would come again and again, and be among the dead letters before it has ended.
        Raises ConfigInvalid for a message that is none of ours (it belongs among the dead letters), StateConflict
        where another worker has taken over, and the query's error where another attempt may help and is left.
        """
        job = named(message)
        item = self._read(job)
        if item is None:
            _LOG.warning("job %s is not there: it has expired, or was never stored", job)
            return {"job": job, "state": "GONE", "skipped": "it is not there any more"}
        body = item.body
        if body["state"] in ("DONE", "FAILED"):
            self._close(job)
            return {"job": job, "state": body["state"], "skipped": "it is done already"}
        if body["state"] == "RUNNING" and self._alive(body):
            return held_elsewhere(job)
        if body["attempts"] >= ATTEMPTS:
            return self._ended(item, {"state": "FAILED", "error": body.get("last_error") or worn_out()})
        if not self._begin(job):
            return held_elsewhere(job)
        try:
            try:
                held = self._running[job] = self._hold(item, time_left_s)
            except StateConflict:
                return held_elsewhere(job)
            return self._answered(held, time_left_s)
        finally:
            self._running.pop(job, None)

    def _begin(self, job: str) -> bool:
        """Before the store says so: another thread that reads this worker's name there has to find it at work."""
        with self._lock:
            if job in self._running:
                return False
            self._running[job] = None
            return True

    def give_back(self) -> None:
        """Before this process ends: queue again what it works on, as if it had not begun."""
        for held in [item for item in self._running.values() if item is not None]:
            try:
                self._note(held, {"state": "QUEUED", "lease_until": 0.0, "attempts": held.body["attempts"] - 1})
                # Its own message may be gone: another worker may have had it meanwhile, and found the job held.
                self._ports.queue.send({"job": held.body["id"]})
            except Error as error:  # whoever ends does so all the same, and the sweep finds the job
                _LOG.error("job %s was not given back: %s: %s", held.body["id"], error.code, error.message)

    def resend(self, seconds: float = 10.0) -> int:
        """Send again what is queued and was forgotten, or whose worker died; returns how many. For the sweep.

        What cannot be looked at within ``seconds`` is for the next sweep: each begins somewhere else.
        """
        deadline, sent = Deadline(seconds), 0
        now = self._now()
        for entry in self._open():
            if deadline.left() <= 0:
                _LOG.warning("more jobs are open than a sweep can look at: the next one goes on")
                break
            item = self._read(entry.key)
            if item is None:
                if now - float(entry.body["submitted_at"]) > _GRACE_S:
                    self._close(entry.key)
            elif item.body["state"] in ("DONE", "FAILED"):
                self._close(entry.key)
            elif not self._alive(item.body) and now >= self._again_at(item.body):
                self._ports.queue.send({"job": entry.key})
                self._note(item, {"sent_at": now, "resent": item.body.get("resent", 0) + 1})
                sent += 1
        return sent

    def _open(self) -> Iterator[Item]:
        """All of them, from anywhere in their order on: those that a sweep has no time for are not always the same."""
        begin = random.choice(_IDS)
        for first, last in ((begin, None), ("", begin)):
            while page := self._ports.store.query(OPEN, first, last, limit=_SWEPT):
                yield from page
                first = page[-1].key + "\0"

    def _again_at(self, body: Mapping[str, Any]) -> float:
        """Each wait is twice the one before: a job may be queued behind many others, and is not forgotten then."""
        since = float(body.get("sent_at") or body["submitted_at"])
        if body["state"] == "RUNNING" and float(body["started_at"]) > since:
            return 0.0  # its worker had the message, and has died
        return since + FORGOTTEN_S * float(2 ** int(body.get("resent", 0)))

    def _answered(self, held: Item, time_left_s: float | None) -> dict[str, Any]:
        body = held.body
        rights: dict[str, str] = {}
        try:
            question = self._question(body, time_left_s)
            rights["rights"] = self._rights(question.principal)
            answer = self._ask(question)
            encoded = self._encoded(answer)
            name = f"job/{body['id']}/{body['attempts']}.json"
            self._ports.objects.put(name, encoded, expires_at=body["expires_at"])
        except Error as error:
            told = error.to_dict(body["id"])
            if error.retryable and body["attempts"] < ATTEMPTS:
                self._note(held, {**rights, **queued(told, self._now())})
                raise
            return self._ended(held, {**rights, "state": "FAILED", "error": told})
        except Exception as error:
            _LOG.exception("job %s failed on attempt %d", body["id"], body["attempts"])
            told = Internal(f"Something failed on our side. Quote job {body['id']} when you report it.").to_dict("")
            self._note(held, {**rights, **queued(told, self._now())})
            raise Internal(f"Job {body['id']} failed; the log says why.") from error
        done = {"state": "DONE", "object": name, "row_count": len(answer.rows), "bytes": len(encoded)}
        return self._ended(held, {**rights, **done})

    def _question(self, body: Mapping[str, Any], time_left_s: float | None) -> Ask:
        """The question, with the rights that who asked it has now."""
        principal = self._principals(body["principal"])
        if principal is None or principal.tenant != body["tenant"]:
            raise EntitlementDenied("Who submitted this job is no principal of this project any more.")
        kept = body["ask"]
        ask = Ask(principal=principal, now=self._clock(), origin="job", request_id=body["id"], **kept)
        if time_left_s is None:
            return ask
        if time_left_s <= 0:
            raise ResourceLimit("The worker had no time left to start the query. Raise its timeout.")
        return replace(ask, timeout_s=min(ask.timeout_s, time_left_s - min(STORING_S, time_left_s / 2)))

    def _encoded(self, answer: Answer) -> bytes:
        """The answer as its owner will get it. ResourceLimit for one that the way there does not let through."""
        from core.query.present import to_json

        encoded, most = to_json(answer), self._ports.answer_bytes
        if most is not None and (size := self._ports.answer_size(encoded)) > most:
            raise ResourceLimit(
                f"The answer takes {size:,} bytes, and this cloud returns at most {most:,} in one answer. "
                "Aggregate, or ask for fewer columns or rows.", limit_bytes=most,
            )  # fmt: skip
        return encoded

    # ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _hold(self, item: Item, time_left_s: float | None) -> Item:
        """Take the job; StateConflict where another worker was faster."""
        now = self._now()
        span = item.body["ask"]["timeout_s"] if time_left_s is None else min(item.body["ask"]["timeout_s"], time_left_s)
        return self._write(item, {
            "state": "RUNNING",
            "attempts": item.body["attempts"] + 1,
            "holder": self._ports.owner.name(),
            "lease_until": now + span + MARGIN_S,
            "started_at": now,
        })  # fmt: skip

    def _ended(self, item: Item, change: Mapping[str, Any]) -> dict[str, Any]:
        body = self._write(item, {**change, "finished_at": self._now(), "lease_until": 0.0}).body
        self._close(body["id"])
        if body["state"] == "FAILED":
            _LOG.error("job %s failed: %s", body["id"], body["error"]["code"], extra={"code": body["error"]["code"]})
            return {"job": body["id"], "state": "FAILED", "error": body["error"]["code"]}
        return {"job": body["id"], "state": "DONE"}

    def _write(self, item: Item, change: Mapping[str, Any]) -> Item:
        body = {**item.body, **change}
        (version,) = self._ports.store.write(item.partition, [Put(KEY, body, item.version, item.body["expires_at"])])
        return replace(item, body=body, version=version)

    def _note(self, item: Item, change: Mapping[str, Any]) -> None:
        """A change that may be lost to another worker's, who then knows better."""
        import contextlib

        with contextlib.suppress(StateConflict):
            self._write(item, change)

    def _close(self, job: str) -> None:
        self._ports.store.write(OPEN, [Delete(job)])

    def _read(self, job: str) -> Item | None:
        return self._ports.store.get(partition(job), KEY)

    def _alive(self, body: Mapping[str, Any]) -> bool:
        mine = str(body["holder"]) == self._ports.owner.name()
        if mine and body["id"] not in self._running:
            return False  # we could not write how it ended, or are what came up again after that
        return float(body["lease_until"]) > self._now() and not self._ports.owner.gone(str(body["holder"]))

    def _now(self) -> float:
        return self._clock().timestamp()


def _parsed(ask: Ask) -> None:
    """Raise for a text that could never run, before anything is kept."""
    from core.query.parse import parse

    parse(ask.sql, dialect=ask.dialect, params=ask.params, now=ask.now, timezone=ask.timezone)
