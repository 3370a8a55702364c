"""checkov over each module: nothing found, and a written reason for everything that is skipped."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.parts import need
from tests.runtimes import checkov_setup
from tests.terraform.harness import MODULES
from tests.terraform.test_common import CLOUDS


def judged(folder: Path) -> dict[str, Any]:
    need("checkov", checkov_setup.ready(), "run `python -m tests.runtimes.checkov_setup`")
    done = checkov_setup.run(folder)
    assert done.stdout, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nothing_is_found(cloud: str) -> None:
    found = judged(MODULES / cloud)
    failed = [f"{one['check_id']} {one['resource']}: {one['check_name']}" for one in found["results"]["failed_checks"]]
    assert failed == []
    assert found["summary"]["passed"] > 20
    assert found["summary"]["parsing_errors"] == 0


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_skip_has_its_reason_and_is_needed(cloud: str) -> None:
    used = {one["check_id"] for one in judged(MODULES / cloud)["results"]["skipped_checks"]}
    written: dict[str, str] = {}
    for file in (MODULES / cloud).glob("*.tf"):
        for check, reason in re.findall(r"checkov:skip=(\w+):?(.*)", file.read_text("utf-8")):
            assert len(reason.strip()) > 5, f"{file.name}: {check} is skipped without a reason"
            written[check] = reason
    assert set(written) - used == set(), "a skip that skips nothing"


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(
        'resource "aws_s3_bucket" "open" {\n  bucket = "open"\n  acl = "public-read"\n}\n'
    )
    assert judged(tmp_path)["summary"]["failed"] > 3
