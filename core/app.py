"""The two verbs, ask and watch, and what a person looks at around them. Here things happen in order; nothing is done.

Every handler, the CLI and the HTTP API call this; watch asks through ask.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.audit import Audit
from core.deadline import Deadline
from core.errors import ConfigInvalid, Error, Internal, NotFound, StateConflict
from core.model import Answer, Ask, Principal, Progress, Rule
from core.ours import LazyWire, OwnStore, our_own
from core.policy.grants import TablePolicy
from core.policy.identity import Identities
from core.ports import Platform
from core.project import Project
from core.request import new_id
from core.settings import Settings

if TYPE_CHECKING:
    from core.alert.run import Watcher
    from core.policy.gate import View
    from core.query.answer import Answering
    from core.query.job import Jobs
    from core.query.prepared import PlanCache
    from core.source.base import Source
    from core.source.catalog import Catalog
    from core.wire import Wire


class App:
    """Made by ``bootstrap.build``. Safe for several threads."""

    def __init__(
        self,
        settings: Settings,
        platform: Platform,
        project: Project,
        *,
        policies: Sequence[TablePolicy],
        catalog: Catalog,
        opened: Callable[[], Sequence[Source]],
        identities: Identities,
        audit: Audit,
        wire: Callable[[], Wire],
        clock: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.platform = platform
        self.project = project
        self.policies = policies
        self.catalog = catalog
        self._opened = opened
        self.audit = audit
        self.clock = clock
        self._identities = identities
        self._wire = wire
        self._watcher: Watcher | None = None
        self._plans: PlanCache | None = None
        self._jobs: Jobs | None = None
        # Threads that came first together would each have parts of their own, and know nothing of the others' work.
        self._making = threading.RLock()

    # ── ask ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def request(
        self,
        sql: str,
        principal: Principal,
        *,
        params: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        max_staleness_ms: int | None = None,
        dialect: str = "duckdb",
        row_limit: int | None = None,
        origin: str = "cli",
        request_id: str = "",
    ) -> Ask:
        """A question with the project's defaults filled in."""
        defaults = self.project.defaults
        return Ask(
            sql=sql,
            principal=principal,
            now=self.clock(),
            timezone=defaults.timezone,
            params=params or {},
            dialect=dialect,
            timeout_s=defaults.timeout_s if timeout_s is None else timeout_s,
            max_staleness_ms=defaults.max_staleness_ms if max_staleness_ms is None else max_staleness_ms,
            row_limit=row_limit,
            origin=origin,
            request_id=request_id,
        )

    def ask(self, ask: Ask, progress: Progress | None = None) -> Answer:
        """Answer one question. Raises the errors of ``core.errors``; every ask is audited, also one that fails.

        An error of the store or the audit has ``ours``: the question was not answered, and nothing is wrong with it.
        """
        ask = ask if ask.request_id else replace(ask, request_id=new_id())
        self._record(ask, self._intent(ask))
        answering = self._answering(ask, progress)
        try:
            answer = answering.run()
        except Error as error:
            self._outcome(ask, answering, error.code)
            raise
        except BaseException:
            self._outcome(ask, answering, Internal.code)
            raise
        self._outcome(ask, answering, "OK", answer)
        return answer

    def explain(self, ask: Ask) -> dict[str, Any]:
        """What would be called, pushed down, not pushed and why, masked and filtered. Fetches no row."""
        return self._answering(ask, None).explain()

    def _answering(self, ask: Ask, progress: Progress | None) -> Answering:
        from core.query.answer import Answering
        from core.query.prepared import PlanCache

        with self._making:
            if self._plans is None:
                self._plans = PlanCache(OwnStore(self.platform.store))
        return Answering(
            ask,
            settings=self.settings,
            catalog=self.catalog,
            plans=self._plans,
            digest=self.project.digest,
            salt=self._salt,
            view=lambda deadline: self._view(ask.principal, deadline, ask.private_source),
            progress=progress,
        )

    def tables(self, principal: Principal, source: str | None = None) -> list[dict[str, Any]]:
        """What ``principal`` may read: ``{"table", "connector"}``; a source out of reach carries ``error``."""
        view = self._view(principal)
        wanted = [s for s in view.sources() if source is None or s.lower() == source.lower()]
        if source is not None and not wanted:
            from core.policy.gate import denied

            raise denied(source)
        found: list[dict[str, Any]] = []
        for name in wanted:
            connector = str(self.project.document["sources"][name]["connector"])
            try:
                found += [{"table": f"{name}.{t}", "connector": connector} for t in view.names(name)]
            except Error as error:
                if source is not None:
                    raise
                found.append({"table": f"{name}.*", "connector": connector, "error": f"{error.code}: {error.message}"})
        return found

    def describe(self, principal: Principal, full_name: str) -> dict[str, Any]:
        """One table as ``principal`` sees it: columns with type, what its source filters by, masks."""
        source, _, name = full_name.partition(".")
        visible = self._view(principal).find(source if name else None, name or source)
        masks = visible.decision.masks
        return {
            "table": visible.table.full_name,
            "doc": visible.table.doc,
            "rows_filtered": visible.decision.restricts_rows,
            "columns": [
                {
                    "name": c.name,
                    "type": c.type,
                    "required": c.required,
                    "hidden": c.hidden,
                    "pushdown": dict(c.operators),
                    "masked": masks[c.name.lower()].kind if c.name.lower() in masks else None,
                    "doc": c.doc,
                }
                for c in visible.table.columns
            ],
        }

    def authenticate(self, bearer: str) -> Principal:
        """The principal of an API key. Raises Unauthenticated."""
        return self._identities.by_key(bearer)

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, ask: Ask) -> dict[str, Any]:
        """Put a question on the queue; returns the job's status. See ``core.query.job``."""
        return self.jobs.submit(ask)

    def job(self, job: str, principal: Principal) -> dict[str, Any]:
        return self.jobs.status(job, principal)

    def job_result(self, job: str, principal: Principal) -> bytes | None:
        return self.jobs.result(job, principal)

    def work(self, message: object, time_left_s: float | None = None) -> dict[str, Any]:
        """Do one message of the queue; raises where it has to come again."""
        return self.jobs.work(message, time_left_s)

    @property
    def jobs(self) -> Jobs:
        """Raises ConfigInvalid where this deployment has no queue or nowhere to keep answers."""
        with self._making:
            if self._jobs is None:
                self._jobs = self._made_jobs()
            return self._jobs

    def _made_jobs(self) -> Jobs:
        from core.query.job import Jobs, Ports

        here = self.platform
        if here.queue is None or here.objects is None:
            raise ConfigInvalid(
                "This deployment has no queue for jobs: set OMNI_QUEUE and OMNI_OBJECTS, or leave out 'mode'.",
                key="mode",
            )
        return Jobs(
            Ports(here.store, here.objects, here.queue, here.owner, here.answer_bytes),
            self.ask,
            self._principal,
            self._rights,
            self.clock,
            self.settings.job_ttl_s,
        )

    def _principal(self, name: str) -> Principal | None:
        config = self.project.principals.get(name)
        return config.principal if config else None

    def _rights(self, who: Principal) -> str:
        """Changes with the policies, and with whatever they may look at in a principal."""
        import hashlib
        import json

        seen = [self.project.document["policies"], who.name, who.tenant, sorted(who.roles), who.teams, who.attributes]
        return hashlib.sha256(json.dumps(seen, sort_keys=True, default=str).encode()).hexdigest()

    # ── watch ────────────────────────────────────────────────────────────────────────────────────────────────────

    def watch(
        self,
        name: str,
        slot: datetime | None = None,
        *,
        dry_run: bool = False,
        wait_s: float = 0.0,
        time_left_s: float | None = None,
    ) -> dict[str, Any]:
        """Judge one alert at ``slot`` (None: now) and deliver what it owes, within ``time_left_s`` where a function has
        no more. Raises NotFound, StateConflict."""
        return self.watcher.run(self._rule(name), slot, dry_run=dry_run, wait_s=wait_s, time_left_s=time_left_s)

    def sweep(self, time_left_s: float | None = None) -> dict[str, Any]:
        """Drain every outbox, free dead leases, run missed slots, send forgotten jobs again."""
        report = self.watcher.sweep(self.project.alerts.values(), time_left_s=time_left_s)
        if self.platform.queue is not None and self.platform.objects is not None:
            try:
                report["jobs_resent"] = self.jobs.resend()
            except Error as error:
                report["errors"].append({"alert": "(jobs)", "code": error.code, "message": error.message})
        return report

    def alerts(self) -> list[dict[str, Any]]:
        """All of the project, then those that were removed from it and left something open."""
        rules = self.project.alerts
        return self.watcher.status(rules.values()) + self.watcher.removed(rules)

    def alert(self, name: str) -> dict[str, Any]:
        rule = self._rule(name)
        return {
            **self.watcher.status([rule])[0],
            "description": rule.description,
            "query": rule.query,
            "channels": list(rule.channels),
            "labels": dict(rule.labels),
            "runbook": rule.runbook,
            "place": rule.place,
        }

    def history(self, name: str, limit: int = 50) -> list[dict[str, Any]]:
        return self.watcher.history(self._rule(name).name, limit)

    def silence(self, name: str, seconds: float, because: str, by: str) -> dict[str, Any]:
        return self.watcher.silence(self._rule(name).name, seconds, because, by)

    def unsilence(self, name: str, by: str = "") -> dict[str, Any]:
        return self.watcher.unsilence(self._rule(name).name, by)

    @property
    def watcher(self) -> Watcher:
        with self._making:
            if self._watcher is None:
                from core.alert.run import Watcher

                self._watcher = Watcher(
                    self.platform.store,
                    self.platform.owner,
                    self.ask,
                    self._send,
                    self.clock,
                    self.project.delivery,
                    self.settings.lease_s,
                )
            return self._watcher

    def _send(self, event: dict[str, Any], channel: str, deadline: Deadline) -> object:
        from core.notify.send import send

        return send(
            event,
            self.project.channel(channel),
            secrets=self.platform.secrets,
            wire=LazyWire(self._wire),
            smtp=self.project.smtp,
            deadline=deadline,
        )

    def _rule(self, name: str) -> Rule:
        rule = self.project.alerts.get(name)
        if rule is None:
            import difflib

            near = difflib.get_close_matches(name, list(self.project.alerts), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " `omni alert list` shows them."
            raise NotFound(f"There is no alert {name!r}.{hint}", alert=name)
        return rule

    # ── around an ask ────────────────────────────────────────────────────────────────────────────────────────────

    def give_back(self) -> None:
        """Before this process ends: the jobs that it works on are another's, and that was no attempt of theirs."""
        if self._jobs is not None:
            self._jobs.give_back()

    def close(self) -> None:
        """Let go of connections."""
        for source in self._opened():
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def _view(self, principal: Principal, deadline: Deadline | None = None, private: str | None = None) -> View:
        from core.policy.gate import View

        budget = deadline or Deadline(self.project.defaults.timeout_s)
        return View(self.catalog, self.policies, principal, budget, private, private=self._private_sources())

    def _private_sources(self) -> list[str]:
        return [name for name, raw in self.project.document["sources"].items() if raw.get("private")]

    def _salt(self) -> str:
        """The project's salt for hash masks: made once, kept in the store."""
        from core.ports import ABSENT, Put

        store = OwnStore(self.platform.store)
        item = store.get("project", "mask-salt")
        if item is None:
            # Where another process made it first, that one is read.
            with contextlib.suppress(StateConflict):
                store.write("project", [Put("mask-salt", {"salt": os.urandom(32).hex()}, ABSENT)])
            item = store.get("project", "mask-salt")
        if item is None:
            raise Internal("The salt of the masks cannot be kept. Check the store.")
        return str(item.body["salt"])

    def _intent(self, ask: Ask) -> dict[str, Any]:
        return {
            "event": "intent",
            "request": ask.request_id,
            "origin": ask.origin,
            "principal": ask.principal.name,
            "roles": sorted(ask.principal.roles),
            "sql": ask.sql,
            "project": self.project.digest,
        }

    def _outcome(self, ask: Ask, answering: Any, code: str, answer: Answer | None = None) -> None:
        record = {
            "event": "outcome",
            "request": ask.request_id,
            "principal": ask.principal.name,
            "code": code,
            **answering.facts(),
        }
        if answer is not None:
            record["rows"] = len(answer.rows)
        self._record(ask, record)

    def _record(self, ask: Ask, record: Mapping[str, Any]) -> None:
        with our_own():
            self.audit.append(ask.principal.tenant, record)
