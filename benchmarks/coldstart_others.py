"""Cold start on Google Cloud and Azure: process start to first answer, from the unpacked bundle on Python 3.13.

    python -m benchmarks.coldstart_others [--runs 7]

Through functions-framework and through Microsoft's worker library; state and secrets are emulators and fakes behind the
official clients. A trivial function in the same runtime is the floor. No bound is set: what weighs is Google's and
Microsoft's clients, and the split says how much.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.coldstart import Cost, cpu_ms, median, small_project
from core.errors import Error
from infra.bundle import SHIMS, build
from tests.handlers.conftest import SECRETS, event
from tests.runtimes.azure_cloud import shared as azure
from tests.runtimes.azure_worker import Worker
from tests.runtimes.functions_framework import Function
from tests.runtimes.google_cloud import GoogleCloud
from tests.runtimes.places import VENV

TRIVIAL_GCP = "def ask(request):\n    return '{}'\n\n\nwatch = ask\n"
TRIVIAL_AZURE = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.function_name("ask")
@app.route(route="{*path}")
def ask(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("{}")
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """``start(folder, target, env)`` gives a process; ``call(process, target)`` its first answer's status."""

    cloud: str
    start: Callable[[Path, str, Mapping[str, str]], AbstractContextManager[Any]]
    call: Callable[[Any, str], int]
    trivial: Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args(arguments).runs
    if not (VENV / "bin" / "python").is_file():
        print("Python 3.13 is not there: run `python -m tests.runtimes.azure_setup`.", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with GoogleCloud() as google:
                _measure(_google(), google.env, Path(scratch), runs)
            _measure(_azure(), azure().deployment(SECRETS), Path(scratch), runs)
        except Error as error:
            print(f"{error.code}: {error.message}", file=sys.stderr)
            return error.exit_code
    return 0


def _measure(runtime: Runtime, env: Mapping[str, str], scratch: Path, runs: int) -> None:
    report = build(runtime.cloud, small_project(scratch / f"company-{runtime.cloud}", "http://127.0.0.1:9"), scratch)
    folder, bare = scratch / runtime.cloud, scratch / f"{runtime.cloud}-trivial"
    with zipfile.ZipFile(report.path) as archive:
        archive.extractall(folder)
    bare.mkdir()
    for name, text in runtime.trivial.items():
        (bare / name).write_text(text)
    size = f"{report.unzipped_bytes / 1e6:.0f} MB unzipped, {report.zipped_bytes / 1e6:.1f} MB zipped"
    print(f"\n{runtime.cloud}: bundle {size}")
    floor = _cold(runtime, bare, "ask", env, runs)
    print(f"{'trivial function':<38}{floor}")
    for title, target in (("watch, one SQL source", "watch"), ("ask, one SQL source", "ask")):
        cost = _cold(runtime, folder, target, env, runs)
        print(f"{title:<38}{cost}   {cost.cpu - floor.cpu:+.0f} ms CPU over the trivial one")
        split = _imports(runtime, folder, target, env)
        print("  import split (ms): " + ", ".join(f"{name} {us / 1e3:.0f}" for name, us in split.most_common(12)))


def _cold(runtime: Runtime, folder: Path, target: str, env: Mapping[str, str], runs: int) -> Cost:
    """One more run goes before: it leaves in the store what a later cold start finds there."""
    costs = []
    for _ in range(runs + 1):
        started = time.monotonic()
        with runtime.start(folder, target, env) as process:
            status = runtime.call(process, target)
            wall = time.monotonic() - started
            assert status == 200, (status, process.log())
            costs.append(Cost(sum(map(cpu_ms, _family(process.child.process.pid))), wall * 1e3))
    return median(costs[1:])


def _family(pid: int) -> list[int]:
    """A process and those that it started: functions-framework answers in one of its own."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _imports(runtime: Runtime, folder: Path, target: str, env: Mapping[str, str]) -> Counter[str]:
    with runtime.start(folder, target, {**env, "PYTHONPROFILEIMPORTTIME": "1"}) as process:
        runtime.call(process, target)
        log = process.log()
    spent: Counter[str] = Counter()
    for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", log, re.MULTILINE):
        parts = name.split(".")
        top = ".".join(parts[:2]) if parts[0] in ("google", "azure") else parts[0]
        spent[top if parts[0] not in sys.stdlib_module_names else "stdlib"] += int(own)
    return spent


def _google() -> Runtime:
    python, library = VENV / "bin" / "python", VENV / "runtimes" / "gcp"

    def start(folder: Path, target: str, env: Mapping[str, str]) -> AbstractContextManager[Any]:
        return Function(target, folder / "main.py", env, python=python, paths=[library])

    def call(process: Any, target: str) -> int:
        if target == "watch":
            body = json.dumps({"alert": "calm"}).encode()
            return int(process.request("POST", "/", body=body, headers=event("gcp_cloud_scheduler")["headers"]).status)
        recorded = event("gcp_ask")
        body = recorded["body"].encode()
        return int(process.request("POST", "/v1/query", body=body, headers=recorded["headers"]).status)

    return Runtime("gcp", start, call, {"main.py": TRIVIAL_GCP})


def _azure() -> Runtime:
    python, library = VENV / "bin" / "python", VENV / "runtimes" / "azure"

    def start(folder: Path, _target: str, env: Mapping[str, str]) -> AbstractContextManager[Any]:
        return Worker(folder, env, python=python, paths=[library])

    def call(process: Any, target: str) -> int:
        recorded = event("azure_logic_apps" if target == "watch" else "azure_ask")
        body = json.dumps({"alert": "calm"}) if target == "watch" else recorded["body"]
        return int(process.http(
            target, "POST", recorded["url"], body=body.encode(), headers=recorded.get("headers") or {}
        ).status)  # fmt: skip

    return Runtime("azure", start, call, {"function_app.py": TRIVIAL_AZURE, "host.json": SHIMS["azure"]["host.json"]})


if __name__ == "__main__":
    sys.exit(main())
