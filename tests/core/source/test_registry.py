"""Connector names to sources: what is unknown is told with what is known."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from core.deadline import Deadline
from core.errors import ConfigInvalid, SourceError
from core.source.pages import RestSource
from core.source.registry import build, known_connectors
from core.source.sqlite import SqliteSource
from core.wire import Wire
from tests.core.source.test_spec import GOOD


class Config:
    place = "omni.yaml:5"

    def __init__(self, connector: str, **options: Any) -> None:
        self.connector, self.options = connector, options


class Secrets:
    def get(self, name: str) -> str:
        return {"db": "sqlite:///kept.db", "t": "token"}[name]

    def forget(self, name: str) -> bool:
        return False


def made(root: Path, connector: str, **options: Any) -> Any:
    return build("s", Config(connector, **options), root=root, wire=lambda: Wire(Secrets()), secrets=Secrets())


@pytest.mark.parametrize(
    ("connector", "options", "words"),
    [
        ("githb", {}, "did you mean github? Known: files, github, postgres, sqlite"),
        ("zzz", {}, "there is no connector 'zzz'. Known"),
        ("sqlite", {}, "needs the option url"),
        ("sqlite", {"url": "sqlite:///a", "pth": 1}, "has no option pth"),
        ("sqlite", {"url": "postgres://x"}, "sqlite:///shop.db"),
        ("postgres", {"url": "mysql://x/y"}, "postgresql://"),
        ("postgres", {"url": "postgresql://x/y", "password": "pw-itself"}, "secret:postgres_password"),
        ("files", {}, "needs the option path"),
        ("github", {"tokn": "x"}, "did you mean token"),
        ("github", {"token": "ghp_itself"}, "secret:github_token"),
        ("github", {"base_url": "ftp://x"}, "base_url has to look like"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, connector: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        made(tmp_path, connector, **options)
    assert str(caught.value).startswith("omni.yaml:5: ") and words in str(caught.value), str(caught.value)
    assert "itself" not in str(caught.value).replace("the secret itself", "")


def test_a_whole_url_may_be_a_secret(tmp_path: Path) -> None:
    source = made(tmp_path, "sqlite", url="secret:db")
    assert isinstance(source, SqliteSource)
    with pytest.raises(SourceError, match="no SQLite database at secret:db") as caught:
        source.table_names(Deadline(5))
    assert "kept.db" not in f"{caught.value} {caught.value.details}"
    sqlite3.connect(tmp_path / "kept.db").close()
    assert source.table_names(Deadline(5)) == []


def test_the_projects_own_connectors_win(tmp_path: Path) -> None:
    for name in ("shop", "github"):
        folder = tmp_path / "connectors" / name
        folder.mkdir(parents=True)
        (folder / "connector.yaml").write_text(GOOD)
    assert "shop" in known_connectors(tmp_path)
    for name in ("shop", "github"):
        source = made(tmp_path, name, token="secret:t")
        assert isinstance(source, RestSource) and source.table_names(Deadline(5)) == ["orders"]
    assert "shop" not in known_connectors(tmp_path / "elsewhere")


def test_the_credential_is_optional_where_the_api_allows_it(tmp_path: Path) -> None:
    assert made(tmp_path, "github").table_names(Deadline(5))
