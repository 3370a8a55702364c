"""Google's own Firestore and Pub/Sub emulators, from the ``platform`` folder of a Google Cloud SDK.

They are on no registry of packages. Looked for in OMNI_GCLOUD_PLATFORM, beside ``gcloud`` on PATH, under
CLOUDSDK_ROOT_DIR and in the usual folders; absent, the tests that need them are skipped with that reason, even where
all parts are required.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtimes.process import Child, free_port

PROJECT = "demo-omnisentinel"
"""Projects that begin with ``demo-`` exist in emulators only."""
_USUAL = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk",
          "/snap/google-cloud-cli/current", "/opt/homebrew/share/google-cloud-sdk",
          "/usr/local/Caskroom/google-cloud-sdk/latest/google-cloud-sdk")  # fmt: skip


def _folders() -> Iterator[Path]:
    if named := os.environ.get("OMNI_GCLOUD_PLATFORM"):
        yield Path(named)
    if root := os.environ.get("CLOUDSDK_ROOT_DIR"):
        yield Path(root) / "platform"
    if gcloud := shutil.which("gcloud"):
        yield Path(gcloud).resolve().parent.parent / "platform"
    yield from (Path(folder) / "platform" for folder in (*_USUAL, Path.home() / "google-cloud-sdk"))


def _jar(pattern: str) -> Path | None:
    return next((jar for folder in _folders() for jar in sorted(folder.glob(pattern))), None)


def _java(pattern: str, name: str) -> tuple[str, Path]:
    java, jar = shutil.which("java"), _jar(pattern)
    if java is None or jar is None:
        missing = "java" if java is None else f"{name} (gcloud components install {name})"
        pytest.skip(f"part not available: Google's {name}: this machine has no {missing}", allow_module_level=True)
    return java, jar


class Emulator:
    """``address``: HOST:PORT, as FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST want it."""

    def __init__(self, command: list[str]) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.child = Child([*command, "--host=127.0.0.1", f"--port={port}"], {}, Path.cwd())
        try:
            self.child.wait_for_port(port)
        except BaseException:
            self.child.close()
            raise

    def close(self) -> None:
        self.child.close()


@functools.cache
def firestore() -> Emulator:
    """The one Firestore emulator of this test process."""
    java, jar = _java("cloud-firestore-emulator/cloud-firestore-emulator.jar", "cloud-firestore-emulator")
    made = Emulator(
        [java, "-Xmx512m", "-cp", str(jar), "com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start"]
    )
    atexit.register(made.close)
    return made


@functools.cache
def pubsub() -> Emulator:
    """The one Pub/Sub emulator of this test process."""
    java, jar = _java("pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar", "pubsub-emulator")
    made = Emulator([java, "-Xmx256m", "-jar", str(jar)])
    atexit.register(made.close)
    return made


def clear(address: str, project: str = PROJECT) -> None:
    """Forget every document of the emulator's default database."""
    request = urllib.request.Request(
        f"http://{address}/emulator/v1/projects/{project}/databases/(default)/documents", method="DELETE"
    )
    urllib.request.urlopen(request, timeout=30).close()
