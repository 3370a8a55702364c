"""Bundles for tests: one zip per cloud and test run, however many workers ask for it."""

from __future__ import annotations

import fcntl
import pickle
import zipfile
from pathlib import Path

from infra.bundle import BundleReport, build
from tests.handlers.conftest import write_project
from tests.runtimes.places import python313

HOOK = "http://127.0.0.1:9/hook"


def bundle(cloud: str, shared: Path) -> BundleReport:
    """The zip of ``cloud`` for the small company of the handlers' tests, from cached wheels only.

    ``shared``: a folder of the whole run. Skips where Python 3.13 is absent.
    """
    python313()
    with (shared / f"{cloud}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = shared / f"company-{cloud}"
        made = shared / f"{cloud}.report"
        if not made.exists():
            report = build(cloud, write_project(root, HOOK), shared / "bundles", offline=True)
            made.write_bytes(pickle.dumps(report))
        found: BundleReport = pickle.loads(made.read_bytes())
        return found


def unpacked(cloud: str, shared: Path) -> Path:
    """The bundle's files as the cloud lays them out, on a disk that functions cannot write to."""
    report = bundle(cloud, shared)
    folder = shared / "unpacked" / f"{cloud}-{report.digest[:12]}"
    with (shared / f"{cloud}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with zipfile.ZipFile(report.path) as archive:
                archive.extractall(folder)
    return folder
