"""The one place where objects meet: settings, ports and a project become an App."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.app import App
from core.audit import Audit
from core.policy.grants import Mask, MaskRule, PolicyTest, RowRule, TablePolicy
from core.policy.identity import Identities
from core.ports import Platform
from core.project import Project, principal
from core.settings import Settings
from core.source import registry
from core.source.base import Source
from core.source.catalog import Catalog

if TYPE_CHECKING:
    from core.wire import Wire


def utc_now() -> datetime:
    return datetime.now(UTC)


def build(settings: Settings, platform: Platform, project: Project, *, clock: Callable[[], datetime] = utc_now) -> App:
    """Put an App together. Touches neither network nor disk: sources are made when a query names them."""
    wire = _Once(lambda: _wire(platform, project))
    sources = LazySources(project, wire, platform)
    return App(
        settings,
        platform,
        project,
        policies=policies(project.document["policies"]),
        catalog=Catalog(sources),
        opened=lambda: list(sources.made.values()),
        identities=Identities(project.principals, platform.secrets),
        audit=Audit(platform.store, clock),
        wire=wire,
        clock=clock,
    )


def policies(raw: Any) -> list[TablePolicy]:
    """Policies from a project's document."""
    return [
        TablePolicy(
            table=p["table"],
            rows=tuple(RowRule(frozenset(r["roles"]), tuple((c, op, v) for c, op, v in r["where"])) for r in p["rows"]),
            masks=tuple(
                MaskRule(column, Mask(m["mask"], m["width"]), frozenset(m["unless_roles"]))
                for column, m in p["columns"].items()
            ),
            tests=tuple(
                PolicyTest(principal(t["user"]["name"], t["user"]), tuple(t["sees"]), tuple(t["hides"]), p["place"])
                for t in p["tests"]
            ),
            place=p["place"],
        )
        for p in raw
    ]


def _wire(platform: Platform, project: Project) -> Wire:
    from core.wire import Wire

    return Wire(platform.secrets, network_allow=project.network_allow)


class _Once:
    """Makes a thing at first use, once."""

    def __init__(self, make: Callable[[], Wire]) -> None:
        self._make = make
        self._made: Wire | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Wire:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


class LazySources(Mapping[str, Source]):
    """The project's sources, each made when first looked up, so that one with an unset variable harms no other."""

    def __init__(self, project: Project, wire: Callable[[], Wire], platform: Platform) -> None:
        self._project = project
        self._wire = wire
        self._platform = platform
        self._lock = threading.Lock()
        self.made: dict[str, Source] = {}

    def __getitem__(self, name: str) -> Source:
        with self._lock:
            if name not in self.made:
                config = self._project.source(name)
                self.made[name] = registry.build(
                    name, config, root=self._project.root, wire=self._wire, secrets=self._platform.secrets
                )
            return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._project.source_names())

    def __len__(self) -> int:
        return len(self._project.source_names())
