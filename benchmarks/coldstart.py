"""Cold start on AWS: process start to first answer, from the unpacked bundle on Python 3.13 in the real runtime client.

    python -m benchmarks.coldstart [--runs 9]

The floor is measured in the same run: what the parts cost that such a process imports, each imported alone by a bare
interpreter, plus that interpreter. The figures to hold: CPU at most 2x that sum, and in milliseconds of CPU what
``CASES`` says; wall time is shown beside it, for a loaded machine makes it what it is. A trivial handler shows what the
runtime client itself takes, and what a call of a warm function costs on top of a trivial one's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Error
from infra.bundle import build
from tests.handlers.conftest import JOIN, SECRETS, event, write_project
from tests.replay.obtain import obtain
from tests.replay.server import Recorded, ReplayServer
from tests.runtimes.lambda_api import Lambda
from tests.runtimes.ministack import CREDENTIALS, Ministack, client, create_table
from tests.runtimes.places import VENV
from tests.runtimes.process import clean

BOUND = 2.0
WARM_MS = 1.0
WARM_CALLS = 300
_CLIENTS = """
import botocore.session
s = botocore.session.get_session()
for name in ("dynamodb", "secretsmanager"):
    s.create_client(name, region_name="us-east-1", endpoint_url="http://127.0.0.1:9", aws_access_key_id="a",
                    aws_secret_access_key="b")
"""
_LOGS = """
from aws_lambda_powertools import Logger, Metrics
Logger(service="x"); Metrics(namespace="x", service="x")
"""
PARTS = {  # what is measured alone, and the package whose presence in the process says that it is a part
    "runtime client": ("awslambdaric", "import awslambdaric.bootstrap"),
    "powertools Logger, Metrics": ("aws_lambda_powertools", _LOGS),
    "botocore + 2 clients": ("botocore", _CLIENTS),
    "sqlglot": ("sqlglot", "import sqlglot"),
    "sqlalchemy": ("sqlalchemy", "import sqlalchemy"),
    "pydantic": ("pydantic", "import pydantic"),
    "duckdb": ("duckdb", "import duckdb"),
    "arro3": ("arro3", "import arro3.core"),
    "orjson": ("orjson", "import orjson"),
    "yaml": ("yaml", "import yaml"),
    "jinja2": ("jinja2", "import jinja2"),
    "sqlite3": ("sqlite3", "import sqlite3"),
}


OMNI = """
version: 1
sources:
  shop: {connector: sqlite, url: "sqlite:///shop.db"}
  desk: {connector: files, path: tickets}
  github: {connector: github, base_url: "%s"}
channels:
  hook: {type: webhook, url: "%s", sign_with: "secret:hook_key"}
principals:
  ann: {roles: [viewer], teams: [a], key: "secret:ann_key"}
network: {allow: ["127.0.0.1"]}
"""
CALM = """
name: calm
query: SELECT 'OK' AS status, sum(amount) AS actual_value, 1000 AS threshold FROM shop.orders
schedule: "0 9 * * *"
as: {name: stock-bot, roles: [bot]}
notify: [hook]
"""
ISSUES = "SELECT count(*) AS n FROM github.issues WHERE repository = 'PyGithub/PyGithub'"


@dataclass(frozen=True, slots=True)
class Case:
    """``cpu_ms``: the most that its median may be; None where only the ratio counts."""

    title: str
    handler: str
    event: Any
    cpu_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds: medians."""

    cpu: float
    wall: float

    def __str__(self) -> str:
        return f"{self.cpu:6.0f} ms CPU {self.wall:6.0f} ms wall"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args(arguments).runs
    python, library = VENV / "bin" / "python", VENV / "runtimes" / "aws"
    if not python.is_file() or not library.is_dir():
        print("Python 3.13 or awslambdaric is not there: run `python -m tests.runtimes.azure_setup`.", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return _measure(Path(scratch), python, library, runs)
        except Error as error:
            print(f"{error.code}: {error.message}", file=sys.stderr)
            return error.exit_code


def _measure(scratch: Path, python: Path, library: Path, runs: int) -> int:
    stack = Ministack()
    try:
        with ReplayServer(Recorded.load(obtain())) as github:
            report = build("aws", small_project(scratch / "company", github.url), scratch)
            folder = scratch / "function"
            with zipfile.ZipFile(report.path) as archive:
                archive.extractall(folder)
            trivial = "def handler(event, context):\n    return {'statusCode': 200, 'body': '{}'}\n"
            (folder / "trivial.py").write_text(trivial)
            print(f"bundle {report.unzipped_bytes / 1e6:.0f} MB unzipped, {report.zipped_bytes / 1e6:.1f} MB zipped\n")
            return _compare(Place(folder, python, library, _account(stack.url)), runs)
    finally:
        stack.close()


def _compare(place: Place, runs: int) -> int:
    simple = event("aws_function_url")
    cases = (
        Case("watch, one SQL source", "handlers.aws.main.watch", {"alert": "calm"}, 250.0),
        Case("ask, one SQL source", "handlers.aws.main.ask", simple),
        Case("ask, one REST source", "handlers.aws.main.ask", {**simple, "body": json.dumps({"sql": ISSUES})}, 400.0),
        Case("ask, a join in the engine", "handlers.aws.main.ask", {**simple, "body": json.dumps({"sql": JOIN})}),
    )
    bare = _alone(place.python, (), "pass", runs)
    alone = {name: _alone(place.python, (place.folder, place.library), code, runs) for name, (_, code) in PARTS.items()}
    print(f"{'bare interpreter':<38}{bare}")
    print(f"{'trivial handler':<38}{place.cold('trivial.handler', simple, runs)}")
    missed: list[str] = []
    for case in cases:
        cost = place.cold(case.handler, case.event, runs)
        used = place.imports(case.handler, case.event)
        ratio = _print(case.title, cost, bare, alone, used)
        if ratio > BOUND:
            missed.append(f"{case.title}: {ratio:.2f}x its parts, bound {BOUND:g}x")
        if case.cpu_ms is not None:
            print(f"  bound {case.cpu_ms:.0f} ms CPU: {'held' if cost.cpu <= case.cpu_ms else 'NOT HELD'}")
            missed += [f"{case.title}: {cost.cpu:.0f} ms CPU"] if cost.cpu > case.cpu_ms else []
    health = {**simple, "rawPath": "/healthz", "body": ""}
    health["requestContext"] = {
        **simple["requestContext"],
        "http": {**simple["requestContext"]["http"], "method": "GET"},
    }
    ours, floor = place.warm("handlers.aws.main.ask", health), place.warm("trivial.handler", health)
    over = ours - floor
    print(f"\nwarm: {ours:.2f} ms CPU a call, a trivial handler {floor:.2f}: ours are {over:.2f}, bound {WARM_MS:g}")
    missed += [f"warm: {over:.2f} ms"] if over > WARM_MS else []
    print("\n" + ("every bound held" if not missed else "NOT HELD: " + "; ".join(missed)))
    return 1 if missed else 0


def small_project(root: Path, github: str) -> Path:
    hook = "http://127.0.0.1:9/hook"
    write_project(root, hook)
    (root / "omni.yaml").write_text(OMNI % (github, hook))
    (root / "alerts" / "calm.yaml").write_text(CALM)
    (root / "policies" / "github.yaml").write_text("table: github.issues\nrows:\n  - roles: [viewer]\n")
    (root / "alerts" / "stock.yaml").unlink()
    return root


@dataclass(frozen=True, slots=True)
class Place:
    """Where functions run: the unpacked bundle, the interpreter, the runtime client's folder, the environment."""

    folder: Path
    python: Path
    library: Path
    env: dict[str, str]

    def start(self, handler: str, **more: str) -> Lambda:
        return Lambda(handler, self.folder, {**self.env, **more}, python=self.python, paths=[self.library])

    def cold(self, handler: str, asked: Any, runs: int) -> Cost:
        """One more run goes before: it leaves in the store what a later cold start finds there."""
        costs = []
        for _ in range(runs + 1):
            with self.start(handler) as function:
                result = function.invoke(asked)
                wall = time.monotonic() - function.started
                _good(result, function)
                costs.append(Cost(cpu_ms(function.child.process.pid), wall * 1e3))
        return median(costs[1:])

    def warm(self, handler: str, asked: Any) -> float:
        """CPU milliseconds of one call of many."""
        with self.start(handler) as function:
            for _ in range(20):
                _good(function.invoke(asked), function)
            before = cpu_ms(function.child.process.pid)
            for _ in range(WARM_CALLS):
                function.invoke(asked)
            return (cpu_ms(function.child.process.pid) - before) / WARM_CALLS

    def imports(self, handler: str, asked: Any) -> Counter[str]:
        """Microseconds of own import time by top package, of one run under ``-X importtime``."""
        with self.start(handler, PYTHONPROFILEIMPORTTIME="1") as function:
            function.invoke(asked)
            log = function.log()
        spent: Counter[str] = Counter()
        for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", log, re.MULTILINE):
            top = name.partition(".")[0]
            spent[top if top not in sys.stdlib_module_names or top in ("sqlite3",) else "stdlib"] += int(own)
        return spent


def _good(result: Any, function: Lambda) -> None:
    assert result.error is None, (result, function.log())
    told = result.payload
    assert told.get("statusCode", 200) == 200 and told.get("outcome", "OK") == "OK", (told, function.log())


def _print(title: str, cost: Cost, bare: Cost, alone: dict[str, Cost], used: Counter[str]) -> float:
    parts = {name: c for name, c in alone.items() if PARTS[name][0] in used}
    cpu = bare.cpu + sum(max(0.0, c.cpu - bare.cpu) for c in parts.values())
    wall = bare.wall + sum(max(0.0, c.wall - bare.wall) for c in parts.values())
    print(f"\n{title:<38}{cost}")
    for name, c in parts.items():
        print(f"  {name:<36}{c.cpu - bare.cpu:6.0f} ms CPU alone")
    print(f"  {'sum of parts + interpreter':<36}{Cost(cpu, wall)}")
    print(f"  ratio {cost.cpu / cpu:.2f} CPU, {cost.wall / wall:.2f} wall")
    print("  import split (ms): " + ", ".join(f"{name} {us / 1e3:.0f}" for name, us in used.most_common(12)))
    return cost.cpu / cpu


def _account(url: str) -> dict[str, str]:
    name = f"bench{uuid.uuid4().hex[:6]}"
    create_table(url, name)
    for secret, value in SECRETS.items():
        client("secretsmanager", url).create_secret(Name=f"{name}/{secret}", SecretString=value)
    return {"OMNI_STORE_TABLE": name, "OMNI_SECRET_PREFIX": f"{name}/", "OMNI_ENDPOINT_URL": url, **CREDENTIALS}


def _alone(python: Path, paths: Sequence[Path], code: str, runs: int) -> Cost:
    measured = "import time\n" + code + "\nprint(time.process_time() * 1e3)"
    costs = []
    for _ in range(runs):
        started = time.monotonic()
        done = subprocess.run(
            [str(python), "-c", measured], env=clean({"PYTHONPATH": ":".join(map(str, paths))}),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        costs.append(Cost(float(done.stdout.splitlines()[-1]), (time.monotonic() - started) * 1e3))
    return median(costs)


def cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(c.cpu for c in costs), statistics.median(c.wall for c in costs))


if __name__ == "__main__":
    sys.exit(main())
