"""What the App says of an error: whose it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

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
