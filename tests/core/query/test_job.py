"""Jobs over parts in memory: nothing submitted is lost, whatever dies and whatever comes twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.errors import (
    ConfigInvalid,
    EntitlementDenied,
    Internal,
    NotFound,
    RateLimitExhausted,
    ResourceLimit,
    SourceError,
    SqlRejected,
    SqlSyntax,
)
from core.model import Answer, Ask, Principal
from core.ports import Put
from core.query.job import ATTEMPTS, FORGOTTEN_S, MARGIN_S, OPEN, Jobs, Ports
from tests.core.alert.parts import START, MemoryStore, NamedOwner

ANN = Principal("ann", frozenset({"viewer"}), ("a",))
BOB = Principal("bob")
TTL_S = 3_600.0


class Killed(BaseException):
    """The process ends here."""


class Cloud:
    """A store, a queue and objects that live on when a process ends; ``fuse``: after so many operations it does."""

    def __init__(self) -> None:
        self.now = START
        self.store = MemoryStore(lambda: self.now)
        self.messages: list[dict[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.people: dict[str, Principal] = {"ann": ANN, "bob": BOB}
        self.says: Answer | Exception = Answer((("n", "INTEGER"),), [(1,)])
        self.asked: list[Ask] = []
        self.ended: set[str] = set()
        self.fuse: int | None = None

    def process(self, name: str) -> Jobs:
        guarded: Any = _Fused(self)
        ports = Ports(guarded, guarded, guarded, NamedOwner(name, self.ended))
        return Jobs(ports, self._ask, self.people.get, repr, lambda: self.now, TTL_S)

    def step(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise Killed

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _ask(self, ask: Ask) -> Answer:
        self.step()
        self.asked.append(ask)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


class _Fused:
    """Every operation of a process, each of which may be the last: before its effect, or after it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def _around(self, effect: Callable[[], Any]) -> Any:
        self._cloud.step()
        done = effect()
        self._cloud.step()
        return done

    def get(self, *where: str) -> Any:
        if len(where) == 1:
            return self._cloud.blobs.get(where[0])
        return self._cloud.store.get(*where)

    def query(self, *args: Any, **options: Any) -> Any:
        return self._cloud.store.query(*args, **options)

    def write(self, partition: str, changes: Any) -> Any:
        return self._around(lambda: self._cloud.store.write(partition, changes))

    def put(self, name: str, body: bytes, **_options: Any) -> None:
        self._around(lambda: self._cloud.blobs.__setitem__(name, body))

    def send(self, body: Mapping[str, Any]) -> None:
        self._around(lambda: self._cloud.messages.append(dict(body)))


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def question(sql: str = "SELECT 1 AS n", principal: Principal = ANN, now: datetime = START, **more: Any) -> Ask:
    return Ask(sql, principal, now, **more)


def states(cloud: Cloud, job: str) -> str:
    return str(cloud.process("looker").status(job, ANN)["state"])


# ── the straight way ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_is_queued_worked_and_fetched(cloud: Cloud) -> None:
    submitted = cloud.process("ask").submit(question("SELECT $a AS n", params={"a": 1}, timeout_s=90.0))
    assert (submitted["state"], submitted["attempts"]) == ("QUEUED", 0)
    assert submitted["expires_at"] == "2026-01-31T10:00:00.000Z"
    job = submitted["job_id"]
    assert cloud.messages == [{"job": job}]
    assert cloud.process("ask").result(job, ANN) is None
    assert cloud.process("w1").work(cloud.messages[0], 300.0) == {"job": job, "state": "DONE"}
    (asked,) = cloud.asked
    assert (asked.principal, asked.sql, asked.params, asked.timeout_s) == (ANN, "SELECT $a AS n", {"a": 1}, 90.0)
    assert (asked.origin, asked.request_id) == ("job", job)
    found = cloud.process("ask").result(job, ANN)
    assert found is not None and json.loads(found)["rows"] == [[1]]
    status = cloud.process("ask").status(job, ANN)
    assert (status["state"], status["attempts"], status["row_count"], status["bytes"]) == ("DONE", 1, 1, len(found))
    assert cloud.store.query(OPEN) == []


def test_the_workers_time_bounds_the_query(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question(timeout_s=600.0))["job_id"]
    cloud.process("w").work({"job": job}, 45.0)
    assert cloud.asked[0].timeout_s == 35.0, "its answer has to be stored as well"
    short = cloud.process("ask").submit(question(timeout_s=600.0))["job_id"]
    cloud.process("w").work({"job": short}, 4.0)
    assert cloud.asked[1].timeout_s == 2.0


def test_an_answer_that_the_cloud_would_not_let_through_is_an_error_at_once(cloud: Cloud) -> None:
    """Stored all the same, it would be DONE, and nobody could ever fetch it."""
    fused: Any = _Fused(cloud)
    ports = Ports(fused, fused, fused, NamedOwner("w", cloud.ended), 1_000, lambda body: 2 * len(body))
    there = Jobs(ports, cloud._ask, cloud.people.get, repr, lambda: cloud.now, TTL_S)
    cloud.says = Answer((("n", "VARCHAR"),), [("x" * 400,)])
    large, small = (there.submit(question())["job_id"] for _ in range(2))
    assert there.work({"job": large}) == {"job": large, "state": "FAILED", "error": "RESOURCE_LIMIT"}
    with pytest.raises(ResourceLimit, match=r"at most 1,000 in one answer"):
        there.result(large, ANN)
    cloud.says = Answer((("n", "VARCHAR"),), [("x",)])
    assert there.work({"job": small})["state"] == "DONE"


def test_only_its_owner_sees_a_job(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.process("w").work({"job": job})
    twin = Principal("ann", tenant="other")
    texts = set()
    for who, what in ((BOB, job), (twin, job), (ANN, "0" * 32)):
        for look in (cloud.process("ask").status, cloud.process("ask").result):
            with pytest.raises(NotFound) as refused:
                look(what, who)
            texts.add(refused.value.message)
    assert len(texts) == 1, "a stranger cannot tell a job from none"


def test_a_job_and_its_answer_expire(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.process("w").work({"job": job})
    cloud.later(TTL_S + 1)
    with pytest.raises(NotFound):
        cloud.process("ask").result(job, ANN)
    assert cloud.process("w").work({"job": job})["state"] == "GONE"


def test_an_answer_that_is_gone_before_its_job_is_said(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.process("w").work({"job": job})
    cloud.blobs.clear()
    with pytest.raises(NotFound, match="ask again"):
        cloud.process("ask").result(job, ANN)


# ── what is refused at once ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (question("SELEC 1"), SqlSyntax),
        (question("DROP TABLE x"), SqlRejected),
        (question("SELECT $a"), SqlRejected),
        (question("SELECT $a AS a", params={"a": "x" * 400_000}), ResourceLimit),
        (question(principal=Principal("nobody")), ConfigInvalid),
        (question(principal=Principal("ann", frozenset({"admin"}))), ConfigInvalid),
    ],
)
def test_what_could_never_run_is_no_job(cloud: Cloud, ask: Ask, error: type[Exception]) -> None:
    with pytest.raises(error):
        cloud.process("ask").submit(ask)
    assert (cloud.messages, cloud.store.items) == ([], {})


def test_a_queue_that_refuses_leaves_nothing_behind(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = cloud.process("ask")

    class Refusing(_Fused):
        def send(self, body: Mapping[str, Any]) -> None:
            raise SourceError("no")

    refusing: Any = Refusing(cloud)
    jobs = Jobs(
        Ports(refusing, refusing, refusing, NamedOwner()),
        lambda _a: Answer((), []),
        cloud.people.get,
        repr,
        lambda: cloud.now,
        TTL_S,
    )
    with pytest.raises(SourceError):
        jobs.submit(question())
    assert cloud.store.items == {}


@pytest.mark.parametrize(
    "message", [None, 1, [], {}, {"job": 1}, {"job": ""}, {"job": "../x"}, {"job": "g" * 32}, {"alert": "a"}]
)
def test_a_poisoned_message_is_raised(cloud: Cloud, message: object) -> None:
    with pytest.raises(ConfigInvalid):
        cloud.process("w").work(message)


# ── twice, and never ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_message_that_comes_again_is_done_with(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.process("w1").work({"job": job})
    assert cloud.process("w2").work({"job": job}) == {"job": job, "state": "DONE", "skipped": "it is done already"}
    assert len(cloud.asked) == 1


HELD = {"state": "RUNNING", "skipped": "another worker holds it"}


def working(cloud: Cloud, during: Callable[[Jobs], object], name: str = "w1") -> Jobs:
    """A process in which ``during`` happens while a query runs."""

    def overlapping(ask: Ask) -> Answer:
        during(there)
        return cloud._ask(ask)

    fused: Any = _Fused(cloud)
    ports = Ports(fused, fused, fused, NamedOwner(name, cloud.ended))
    there = Jobs(ports, overlapping, cloud.people.get, repr, lambda: cloud.now, TTL_S)
    return there


def test_while_a_worker_holds_it_another_message_is_done_with(cloud: Cloud) -> None:
    """It would come again and again until it is among the dead letters, long before a long query has ended."""
    job = cloud.process("ask").submit(question(timeout_s=60.0))["job_id"]
    second: list[Any] = []

    def meanwhile(here: Jobs) -> None:
        second.extend(there.work({"job": job}) for there in (cloud.process("w2"), here))

    working(cloud, meanwhile).work({"job": job})
    assert second == [{"job": job, **HELD}] * 2, "in another process, and in another thread of this one"
    assert states(cloud, job) == "DONE" and len(cloud.asked) == 1


def test_who_reads_of_its_own_work_before_it_has_begun_does_not_begin_too(cloud: Cloud) -> None:
    """Between the write that takes a job and what follows, a second delivery may look."""
    job = cloud.process("ask").submit(question())["job_id"]
    there, before = cloud.process("w1"), cloud.store.write
    second: list[Any] = []

    def write(partition: str, changes: Any) -> Any:
        done = before(partition, changes)
        if any(isinstance(c, Put) and c.body.get("state") == "RUNNING" for c in changes):
            second.append(there.work({"job": job}))
        return done

    cloud.store.write = write  # type: ignore[method-assign]  # a moment that no test could hit otherwise
    assert there.work({"job": job})["state"] == "DONE"
    assert second == [{"job": job, **HELD}] and len(cloud.asked) == 1


def test_a_process_that_is_asked_to_end_gives_its_jobs_back(cloud: Cloud) -> None:
    """However often it is restarted, that is no attempt, and the next one need not wait for a lease."""
    job = cloud.process("ask").submit(question(timeout_s=600.0))["job_id"]
    for n in range(ATTEMPTS + 1):

        def ended(here: Jobs) -> None:
            here.give_back()
            raise Killed

        with pytest.raises(Killed):
            working(cloud, ended, f"w{n}").work({"job": job})
        assert states(cloud, job) == "QUEUED"
        assert cloud.messages.pop() == {"job": job}, "another may have had its first message, and found it held"
    assert cloud.process("w9").work({"job": job})["state"] == "DONE"


def test_a_process_ends_also_where_nothing_can_be_given_back(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    jobs = [cloud.process("ask").submit(question())["job_id"] for _ in range(2)]
    before = cloud.store.write

    def away(partition: str, changes: Any) -> Any:
        raise SourceError("The store is away.")

    def ended(here: Jobs) -> None:
        cloud.store.write = away  # type: ignore[method-assign]  # a store that is out of reach from now on
        here.give_back()
        cloud.store.write = before  # type: ignore[method-assign]  # and back
        raise Killed

    with pytest.raises(Killed):
        working(cloud, ended).work({"job": jobs[0]})
    assert f"job {jobs[0]} was not given back: SOURCE_ERROR" in caplog.text
    cloud.ended.add("w1")
    cloud.later(FORGOTTEN_S + 1)
    assert cloud.process("sweep").resend() == 2


def test_a_job_whose_worker_is_seen_to_have_died_is_sent_again_at_once(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question(timeout_s=600.0))["job_id"]
    cloud.later(1)
    killed_worker(cloud, job)
    cloud.messages.clear()
    cloud.ended.add("w1")
    assert cloud.process("sweep").resend() == 1
    assert cloud.process("sweep").resend() == 0, "it was sent, and nobody has had it yet"
    assert cloud.process("w2").work(cloud.messages[0])["state"] == "DONE"


def killed_worker(cloud: Cloud, job: str, name: str = "w1") -> None:
    cloud.fuse = 2  # dies within the query
    with pytest.raises(Killed):
        cloud.process(name).work({"job": job})
    cloud.fuse = None


def test_a_killed_workers_job_is_taken_over_when_its_lease_ends(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question(timeout_s=60.0))["job_id"]
    killed_worker(cloud, job)
    cloud.later(60 + 20)  # what storing the answer may take
    cloud.messages.clear()
    assert cloud.process("w2").work({"job": job}) == {"job": job, **HELD}
    assert cloud.process("sweep").resend() == 0
    cloud.later(MARGIN_S - 19)
    assert cloud.process("sweep").resend() == 1 == len(cloud.messages)
    assert cloud.process("w2").work(cloud.messages[0])["state"] == "DONE"


def test_a_worker_that_is_known_to_have_ended_is_not_waited_for(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    killed_worker(cloud, job)
    cloud.ended.add("w1")
    assert cloud.process("w2").work({"job": job})["state"] == "DONE"


def test_a_job_that_kills_its_workers_is_given_up_and_says_so(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    for n in range(ATTEMPTS):
        killed_worker(cloud, job, f"w{n}")
        cloud.ended.add(f"w{n}")
    assert cloud.process("w9").work({"job": job}) == {"job": job, "state": "FAILED", "error": "INTERNAL"}
    status = cloud.process("ask").status(job, ANN)
    assert status["state"] == "FAILED" and "3 times" in status["error"]["message"]
    with pytest.raises(Internal):
        cloud.process("ask").result(job, ANN)


@pytest.mark.parametrize("seen", [True, False], ids=["its end is seen", "its lease has to end"])
@pytest.mark.parametrize("last", range(16))
def test_wherever_a_process_ends_the_job_is_done_once_it_was_accepted(cloud: Cloud, last: int, seen: bool) -> None:
    """Each step of submit and work is the last one of its process; then a sweep and another worker go on."""
    cloud.fuse = last
    accepted = None
    try:
        accepted = cloud.process("ask").submit(question())["job_id"]
        cloud.process("w1").work({"job": accepted})
    except Killed:
        pass
    ended_by_itself = cloud.fuse is not None and cloud.fuse >= 0
    cloud.fuse = None
    if seen:
        cloud.ended.add("w1")
    for message in cloud.messages:  # as its queue would, at once
        cloud.process("w3").work(message)
    cloud.messages.clear()
    stored = {p.removeprefix("job/") for p, _ in cloud.store.items if p.startswith("job/")}
    if accepted is not None:
        assert stored == {accepted}
    for _ in range(4):
        cloud.later(FORGOTTEN_S * 4)
        cloud.process("sweep").resend()
        for message in cloud.messages:
            cloud.process("w2").work(message)
        cloud.messages.clear()
    for job in stored:
        assert states(cloud, job) == "DONE"
        assert cloud.process("ask").result(job, ANN) is not None
    assert ended_by_itself == (last == 15), "the story has fewer steps than were tried"
    cloud.later(TTL_S)
    cloud.process("sweep").resend()
    assert cloud.store.query(OPEN) == []


def test_the_sweep_sends_again_more_and_more_rarely(cloud: Cloud) -> None:
    cloud.process("ask").submit(question())
    sent = []
    for minute in range(1, 16):
        cloud.later(60)
        if cloud.process("sweep").resend():
            sent.append(minute)
    assert sent == [1, 3, 7, 15]


# ── the query's own errors ───────────────────────────────────────────────────────────────────────────────────────


def test_an_error_that_may_pass_is_tried_again_and_then_told(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.says = RateLimitExhausted("Quota.", retry_after_ms=5_000, scope="github")
    for attempt in range(1, ATTEMPTS):
        with pytest.raises(RateLimitExhausted):
            cloud.process("w").work({"job": job})
        assert cloud.process("ask").status(job, ANN)["attempts"] == attempt
        assert states(cloud, job) == "QUEUED"
    assert cloud.process("w").work({"job": job})["state"] == "FAILED"
    with pytest.raises(RateLimitExhausted) as told:
        cloud.process("ask").result(job, ANN)
    assert (told.value.retry_after_ms, told.value.details["scope"]) == (5_000, "github")


def test_an_error_that_stays_ends_the_job_at_once(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.says = EntitlementDenied("No.")
    assert cloud.process("w").work({"job": job})["error"] == "ENTITLEMENT_DENIED"
    with pytest.raises(EntitlementDenied):
        cloud.process("ask").result(job, ANN)


def test_a_defect_is_tried_again_and_does_not_show_its_cause(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.says = ZeroDivisionError("secret detail")
    for _ in range(ATTEMPTS):
        with pytest.raises(Internal):
            cloud.process("w").work({"job": job})
    assert cloud.process("w").work({"job": job})["state"] == "FAILED"
    assert "secret detail" not in json.dumps([i.body for i in cloud.store.items.values()])


def test_rights_are_those_of_the_moment_it_runs(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.people["ann"] = Principal("ann", frozenset({"less"}))
    cloud.process("w").work({"job": job})
    assert cloud.asked[0].principal.roles == frozenset({"less"})
    gone = cloud.process("ask").submit(question(principal=BOB))["job_id"]
    del cloud.people["bob"]
    assert cloud.process("w").work({"job": gone})["error"] == "ENTITLEMENT_DENIED"
    assert len(cloud.asked) == 1


def test_an_answer_is_not_given_to_who_has_other_rights_by_now(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question())["job_id"]
    cloud.process("w").work({"job": job})
    less = Principal("ann", frozenset({"less"}))
    with pytest.raises(EntitlementDenied, match="ask again"):
        cloud.process("ask").result(job, less)
    assert cloud.process("ask").result(job, ANN) is not None


def test_nor_is_an_error_nor_a_size(cloud: Cloud) -> None:
    """An error of the engine may quote a value."""
    less, there = Principal("ann", frozenset({"less"})), cloud.process("ask")
    done = there.submit(question())["job_id"]
    cloud.process("w").work({"job": done})
    cloud.says = SqlRejected("Could not convert 'bob-secret'.")
    failed = there.submit(question())["job_id"]
    cloud.process("w").work({"job": failed})
    assert there.status(done, ANN)["row_count"] == 1 and "bob-secret" in str(there.status(failed, ANN))
    for job, state in ((done, "DONE"), (failed, "FAILED")):
        told = there.status(job, less)
        assert told["state"] == state and not {"row_count", "bytes", "error"} & set(told)
        with pytest.raises(EntitlementDenied, match="ask again"):
            there.result(job, less)
    with pytest.raises(SqlRejected):
        there.result(failed, ANN)


def test_an_end_that_could_not_be_written_is_made_up_for_at_once(cloud: Cloud) -> None:
    job = cloud.process("ask").submit(question(timeout_s=600.0))["job_id"]
    worker, before = cloud.process("w1"), cloud.store.write

    def failing(partition: str, changes: Any) -> Any:
        if any(isinstance(c, Put) and c.body.get("state") == "DONE" for c in changes):
            raise SourceError("The store is away.")
        return before(partition, changes)

    cloud.store.write = failing
    with pytest.raises(SourceError):
        worker.work({"job": job})
    cloud.store.write = before
    assert cloud.process("w2").work({"job": job}) == {"job": job, **HELD}
    assert worker.work({"job": job})["state"] == "DONE"


def test_every_forgotten_job_is_found(cloud: Cloud) -> None:
    there = cloud.process("ask")
    for _ in range(1_203):
        there.submit(question())
    cloud.messages.clear()
    cloud.later(FORGOTTEN_S + 1)
    assert there.resend() == 1_203 == len({m["job"] for m in cloud.messages})


def test_a_sweep_ends_in_time_and_another_goes_on_elsewhere(cloud: Cloud) -> None:
    there = cloud.process("ask")
    jobs = {there.submit(question())["job_id"] for _ in range(64)}
    cloud.messages.clear()
    cloud.later(FORGOTTEN_S + 1)
    assert there.resend(0.0) == 0
    seen: set[str] = set()
    for _ in range(200):
        first = next(iter(there._open())).key
        seen.add(first)
    assert len(seen) > 5 and seen <= jobs, "not always from the same one on"
    assert there.resend() == 64
