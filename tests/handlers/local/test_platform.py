"""The laptop's other ports: secrets, who a process is, and what importing them costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConfigInvalid
from core.settings import Settings
from handlers.local.platform import LocalOwner, LocalSecrets, LocalStore, platform

ROOT = Path(__file__).resolve().parents[3]


def write(root: Path, name: str, content: bytes) -> None:
    folder = root / ".omni" / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def test_the_environment_comes_first_and_is_read_anew(tmp_path: Path) -> None:
    env = {"OMNI_SECRET_ANN_KEY": "from env"}
    secrets = LocalSecrets(tmp_path, env)
    write(tmp_path, "ann_key", b"from file\n")
    assert secrets.get("ann_key") == "from env"
    env["OMNI_SECRET_ANN_KEY"] = "rotated"
    assert secrets.get("ann_key") == "rotated"
    env["OMNI_SECRET_ANN_KEY"] = ""
    assert secrets.get("ann_key") == "from file"


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"a\n", "a"), (b"a\r\n", "a"), (b"a", "a"), (b" a \n", " a "), (b"a\nb\n", "a\nb"), (b"a\n\n", "a\n")],
)
def test_one_newline_at_the_end_is_the_editors(tmp_path: Path, content: bytes, value: str) -> None:
    write(tmp_path, "k", content)
    assert LocalSecrets(tmp_path, {}).get("k") == value


def test_names_with_dashes_and_dots(tmp_path: Path) -> None:
    assert LocalSecrets(tmp_path, {"OMNI_SECRET_MY_APP_V2_KEY": "x"}).get("my-app.v2-key") == "x"


@pytest.mark.parametrize("name", ["", "../state.db", "a/b", ".hidden", "a b", "x" * 200, "ü"])
def test_a_name_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigInvalid, match="not a name"):
        LocalSecrets(tmp_path, {}).get(name)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_secret_is_missing(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "k", content)
    with pytest.raises(ConfigInvalid, match="OMNI_SECRET_K"):
        LocalSecrets(tmp_path, {}).get("k")


def test_an_unreadable_secret_says_why_and_shows_nothing(tmp_path: Path) -> None:
    write(tmp_path, "k", b"\xff\xfehush")
    with pytest.raises(ConfigInvalid, match="UTF-8") as caught:
        LocalSecrets(tmp_path, {}).get("k")
    assert "hush" not in str(caught.value.to_dict("rq"))
    (tmp_path / ".omni" / "secrets" / "folder").mkdir()
    with pytest.raises(ConfigInvalid, match="folder"):
        LocalSecrets(tmp_path, {}).get("folder")


# ── who we are ───────────────────────────────────────────────────────────────────────────────────────────────────

SAY_NAME = "from handlers.local.platform import LocalOwner; print(LocalOwner().name(), flush=True); input()"


def other() -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-c", SAY_NAME], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def test_a_living_process_is_not_gone_and_a_dead_one_is() -> None:
    child, name = other()
    try:
        owner = LocalOwner()
        assert owner.gone(name) is False
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert owner.gone(name) is True  # dead, though its parent has not asked for it yet
    finally:
        child.kill()
        child.communicate()
    assert owner.gone(name) is True


def test_a_pid_that_was_given_to_another_process_does_not_keep_the_dead_alive() -> None:
    owner = LocalOwner()
    host, boot, pid, started, rest = owner.name().split(":")
    assert owner.gone(":".join((host, boot, pid, str(int(started) - 1), rest))) is True


@pytest.mark.parametrize("part", [0, 1])
def test_nothing_is_known_of_another_host_or_boot(part: int) -> None:
    owner = LocalOwner()
    parts = owner.name().split(":")
    parts[part] += "x"
    parts[2] = "999999999"
    assert owner.gone(":".join(parts)) is False


def test_two_owners_of_one_process_are_two() -> None:
    assert LocalOwner().name() != LocalOwner().name()
    assert LocalOwner().gone(LocalOwner().name()) is False


def test_a_fork_is_another_owner() -> None:
    owner = LocalOwner()
    mine = owner.name()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, owner.name().encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 1000).decode()
    os.close(reader)
    os.close(writer)
    assert theirs.split(":")[2] == str(child)
    assert theirs != mine
    assert owner.gone(theirs) is True


# ── all of it ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_platform_makes_nothing(tmp_path: Path) -> None:
    made = platform(Settings(), {}, tmp_path)
    assert made.name == "local"
    assert list(tmp_path.iterdir()) == []
    assert isinstance(made.store, LocalStore)
    assert made.store.path == tmp_path / ".omni" / "state.db"


def test_the_state_can_live_elsewhere(tmp_path: Path) -> None:
    made = platform(Settings(state_dir=str(tmp_path / "else")), {}, tmp_path / "project")
    assert isinstance(made.store, LocalStore)
    assert made.store.path == tmp_path / "else" / "state.db"
    assert platform(Settings(state_dir="rel"), {}, tmp_path).facts["state"] == str(tmp_path / "rel" / "state.db")


HEAVY = (
    "duckdb",
    "sqlalchemy",
    "sqlglot",
    "pydantic",
    "urllib3",
    "jinja2",
    "yaml",
    "orjson",
    "asyncio",
    "boto3",
    "ssl",
)


@pytest.mark.parametrize(
    "module", ["handlers.local.platform", "core.alert.run", "core.alert.sweep", "core.notify.send"]
)
def test_importing_is_cheap(module: str) -> None:
    code = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_store_that_is_none_of_this_machine_is_refused(tmp_path: Path) -> None:
    """A word that is taken for nothing would have two machines keep two states."""
    for wrong in (
        "secretstate_url",
        "acme",
        "projects/p/databases/d/documents/state",
        "https://a.table.core.windows.net/t",
    ):
        with pytest.raises(ConfigInvalid, match="is no state for this machine"):
            platform(Settings(store_table=wrong), {}, tmp_path)
    assert platform(Settings(), {}, tmp_path).facts["state"].endswith("state.db")
