"""What the App says of an error: whose it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core import bootstrap, project
from core.app import App
from core.errors import Error, SourceError
from core.model import Principal
from core.ports import Change
from core.settings import Settings
from handlers.local.platform import platform

ANN = Principal("ann", frozenset({"admin"}))


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "policies").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "omni.yaml").write_text("version: 1\nsources: {d: {connector: files, path: data}}\n")
    (tmp_path / "policies" / "p.yaml").write_text('table: "*"\nrows: [{roles: [admin]}]\n')
    (tmp_path / "data" / "t.csv").write_text("a\n1\n")
    return bootstrap.build(Settings(), platform(Settings(), {}, tmp_path), project.load(tmp_path, {}))


@pytest.mark.parametrize(
    "hit",
    [
        lambda partition, body: body.get("event") == "intent",
        lambda partition, body: body.get("event") == "outcome",
        lambda partition, body: partition == "plans",
    ],
    ids=["intent", "outcome", "plan"],
)
def test_a_store_that_fails_is_our_own_trouble(
    app: App, monkeypatch: pytest.MonkeyPatch, hit: Callable[[str, object], bool]
) -> None:
    write = app.platform.store.write

    def failing(partition: str, changes: Sequence[Change]) -> Sequence[str]:
        if any(hit(partition, getattr(change, "body", {})) for change in changes):
            raise SourceError("The disk is full.")
        return write(partition, changes)

    monkeypatch.setattr(app.platform.store, "write", failing)
    with pytest.raises(SourceError) as told:
        app.ask(app.request("SELECT a FROM d.t", ANN))
    assert told.value.ours


def test_a_question_that_fails_is_not(app: App) -> None:
    with pytest.raises(Error) as told:
        app.ask(app.request("SELECT b FROM d.t", ANN))
    assert not told.value.ours


@pytest.mark.parametrize("part", ["jobs", "watcher"])
def test_threads_that_come_first_together_share_one_part(app: App, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """With parts of their own one would take what another works on for forgotten, and do it again."""
    from core.alert.run import Watcher
    from core.query.job import Jobs

    kind: type[Any] = Jobs if part == "jobs" else Watcher
    made: list[object] = []
    before = kind.__init__

    def slowly(self: object, *given: Any, **more: Any) -> None:
        made.append(self)
        time.sleep(0.05)  # the others come meanwhile
        before(self, *given, **more)

    monkeypatch.setattr(kind, "__init__", slowly)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: getattr(app, part), range(8)))
    assert len(made) == 1 and all(one is made[0] for one in found)
