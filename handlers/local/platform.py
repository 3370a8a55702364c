"""The laptop's ports: a SQLite file, environment variables and files, the process table, a folder.

Everything lives in ``.omni/`` beside ``omni.yaml`` (``OMNI_STATE_DIR`` moves the state, not the secrets).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigInvalid
from core.ports import Objects, Platform
from core.settings import Settings
from handlers.local.keys import LocalKeys
from handlers.local.objects import LocalObjects
from handlers.local.queue import LocalQueue
from handlers.local.store import LocalStore

if TYPE_CHECKING:
    from handlers.local.store_postgres import PostgresStore

__all__ = ["LocalObjects", "LocalOwner", "LocalSecrets", "LocalStore", "platform"]

FOLDER = ".omni"


def platform(settings: Settings, env: Mapping[str, str], root: Path) -> Platform:
    """Return the ports of this machine for the project in ``root``. Opens and creates nothing yet."""
    state = root / (settings.state_dir or FOLDER)
    secrets = LocalSecrets(root, env)
    store, where = _store(settings, secrets, state)
    objects: Objects = LocalObjects(state / "objects")
    if not isinstance(store, LocalStore):  # answers are where the other machines find them, too
        from handlers.local.store_postgres import PostgresObjects

        objects = PostgresObjects(store)
    return Platform(
        name="local",
        secrets=secrets,
        store=store,
        owner=LocalOwner(),
        objects=objects,
        queue=LocalQueue(lambda: store),
        keys=LocalKeys(root / FOLDER / "keys"),
        facts={"state": where, "secrets": str(root / FOLDER / "secrets")},
    )


def _store(settings: Settings, secrets: LocalSecrets, state: Path) -> tuple[LocalStore | PostgresStore, str]:
    """The SQLite file, or where OMNI_STORE_TABLE is a URL (or a secret that holds one) that PostgreSQL database."""
    given = settings.store_table
    if given.startswith("secret:"):
        from handlers.local.store_postgres import PostgresStore

        return PostgresStore(lambda: secrets.get(given.removeprefix("secret:"))), f"PostgreSQL at {given}"
    if given.startswith(("postgresql://", "postgres://")):
        from handlers.local.store_postgres import PostgresStore

        return PostgresStore(lambda: given), "PostgreSQL at OMNI_STORE_TABLE"
    if given != Settings().store_table:
        raise ConfigInvalid(
            "OMNI_STORE_TABLE is no state for this machine: write postgresql://USER@HOST/DB, secret:NAME, or leave it "
            "unset for a file. A cloud's settings are for `omni schedule` alone: set them in a subshell.",
            key="OMNI_STORE_TABLE",
        )  # fmt: skip
    return LocalStore(state / "state.db"), str(state / "state.db")


class LocalSecrets:
    """``secret:ann_key`` is the variable OMNI_SECRET_ANN_KEY or else the file .omni/secrets/ann_key.

    Read anew at each ``get``, so that a rotated secret needs no restart. An empty one counts as missing.
    """

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self._folder = root / FOLDER / "secrets"
        self._env = env

    def get(self, name: str) -> str:
        if not _SECRET_NAME.fullmatch(name):
            raise ConfigInvalid(
                f"{name[:80]!r} is not a name of a secret: use letters, digits, '_', '-' and '.', "
                "beginning with a letter or digit.",
                secret=name[:80],
            )
        variable = "OMNI_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        value = self._env.get(variable) or self._from_file(name)
        if not value:
            raise ConfigInvalid(
                f"The secret {name!r} is not set. Set the environment variable {variable} "
                f"or write it to the file {self._folder / name}.",
                secret=name,
                variable=variable,
                file=str(self._folder / name),
            )
        return value

    def forget(self, name: str) -> bool:
        return False  # nothing is kept

    def _from_file(self, name: str) -> str:
        path = self._folder / name
        try:
            return path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid(
                f"The secret {name!r} cannot be read from {path}: {_reason(error)}.", secret=name, file=str(path)
            ) from None


_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "it cannot be read") if isinstance(error, OSError) else "it is not UTF-8 text"


class LocalOwner:
    """This process: host, boot and process namespace, pid, start of the process, and a random part."""

    def __init__(self) -> None:
        self._place = (_host(), _boot())
        self._pid = 0
        self._name = ""

    def name(self) -> str:
        pid = os.getpid()
        if pid != self._pid:  # after a fork the child is another owner
            self._pid = pid
            self._name = ":".join((*self._place, str(pid), _started(pid) or "-", os.urandom(4).hex()))
        return self._name

    def gone(self, owner: str) -> bool:
        """True only where that process ran on this very boot of this host and has certainly ended."""
        parts = owner.split(":")
        if len(parts) != 5 or (parts[0], parts[1]) != self._place or not parts[2].isdigit():
            return False
        pid, started = int(parts[2]), parts[3]
        if pid <= 0 or os.name != "posix":  # elsewhere signal 0 is not a question
            return False
        if _PROC.exists():
            return _started(pid) != started
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


_PROC = Path("/proc/self/stat")


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", os.uname().nodename if hasattr(os, "uname") else "") or "-"


def _boot() -> str:
    """This boot of the kernel and the namespace that pids count in; '-' where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return "-"


def _started(pid: int) -> str | None:
    """Start of a live process in clock ticks since boot; None when there is none (a zombie has ended)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold spaces
    return None if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
