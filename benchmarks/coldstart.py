"""Cold start of the AWS ask function: process start to first answer, from the unpacked bundle on Python 3.13.

    python -m benchmarks.coldstart [--runs 9]

The floor is measured in the same run: what the parts cost that such a process imports, each imported alone by a bare
interpreter, plus that interpreter. The figure to hold is CPU at most 2x that sum; wall time is shown beside it, for a
loaded machine makes it what it is. A trivial handler shows what the runtime client itself takes.
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
from tests.runtimes.lambda_api import Lambda
from tests.runtimes.ministack import CREDENTIALS, Ministack, client, create_table
from tests.runtimes.places import VENV
from tests.runtimes.process import clean

BOUND = 2.0
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
    report = build("aws", write_project(scratch / "company", "http://127.0.0.1:9/hook"), scratch)
    folder = scratch / "function"
    with zipfile.ZipFile(report.path) as archive:
        archive.extractall(folder)
    (folder / "trivial.py").write_text("def handler(event, context):\n    return {'statusCode': 200, 'body': '{}'}\n")
    stack = Ministack()
    try:
        env = _account(stack.url)
        simple = {**event("aws_function_url")}
        join = {**simple, "body": json.dumps({"sql": JOIN})}
        bare = _alone(python, (), "pass", runs)
        alone = {name: _alone(python, (folder, library), code, runs) for name, (_, code) in PARTS.items()}
        print(f"bundle {report.unzipped_bytes / 1e6:.0f} MB unzipped, {report.zipped_bytes / 1e6:.1f} MB zipped\n")
        print(f"{'bare interpreter':<38}{bare}")
        print(f"{'trivial handler':<38}{_cold('trivial.handler', folder, python, library, env, simple, runs)}")
        worst = 0.0
        for title, asked in (("ask, one SQL source", simple), ("ask, a join in the engine", join)):
            used = _imports("handlers.aws.main.ask", folder, python, library, env, asked)
            cost = _cold("handlers.aws.main.ask", folder, python, library, env, asked, runs)
            worst = max(worst, _print(title, cost, bare, alone, used))
    finally:
        stack.close()
    print(f"\nhighest ratio {worst:.2f}, bound {BOUND:g}: {'held' if worst <= BOUND else 'NOT HELD'}")
    return 0 if worst <= BOUND else 1


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


def _cold(handler: str, folder: Path, python: Path, library: Path, env: dict[str, str], asked: Any, runs: int) -> Cost:
    costs = []
    for _ in range(runs):
        with Lambda(handler, folder, env, python=python, paths=[library]) as function:
            result = function.invoke(asked)
            wall = time.monotonic() - function.started
            assert result.error is None and result.payload["statusCode"] == 200, (result, function.log())
            costs.append(Cost(_cpu_ms(function.child.process.pid), wall * 1e3))
    return _median(costs)


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
    return _median(costs)


def _imports(handler: str, folder: Path, python: Path, library: Path, env: dict[str, str], asked: Any) -> Counter[str]:
    """Microseconds of own import time by top package (ours: by folder), of one run under ``-X importtime``."""
    with Lambda(handler, folder, {**env, "PYTHONPROFILEIMPORTTIME": "1"}, python=python, paths=[library]) as function:
        function.invoke(asked)
        log = function.log()
    spent: Counter[str] = Counter()
    for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", log, re.MULTILINE):
        top = name.partition(".")[0]
        spent[top if top not in sys.stdlib_module_names or top in ("sqlite3",) else "stdlib"] += int(own)
    return spent


def _cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(c.cpu for c in costs), statistics.median(c.wall for c in costs))


if __name__ == "__main__":
    sys.exit(main())
