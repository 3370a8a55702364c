"""How a module of ours is tested with the real terraform and providers without a registry.

    def test_it_plans(module):
        plan = module("gcp").plan({"name": "omni", "manifest": str(manifest)})       # with the newest provider
        job = plan.resources("google_cloud_scheduler_job")["google_cloud_scheduler_job.alert[\\"big\\"]"]
        assert job["schedule"] == "0 9 * * 1-5"

    def test_it_applies(module):            # imagined: every value that a cloud would decide is invented, so that
        ours = module("gcp", end="old")     # policies and environments can be looked at as they will be
        state = ours.apply(GOOD)
        assert ours.plan(GOOD).actions() == {}              # a second plan changes nothing
        assert ours.destroy().resources() == {}

    @pytest.mark.parametrize("mistake", [
        Mistake("misspelt", "functions.tf", "timeout_seconds", "timeout_second", says="Unsupported argument"),
        Mistake("a name too long", variables={"name": "x" * 40}, says="at most 24", at="plan"),
    ], ids=lambda m: m.name)
    def test_it_is_rejected(once, mistake):
        once("gcp").reject(mistake, GOOD)

``module(cloud, end="new" | "old" | "genuine", source=FOLDER, providers={})`` copies ``infra/terraform/CLOUD``, or
``source``, to a temporary folder and writes a root module that calls it; ``harness.Module`` says what it can do.
``old`` and ``new`` are the two ends of the provider range (``stub.mirror.ends``); ``genuine`` is the provider's own
program, where the machine has it (AWS only), else the test is skipped. ``once(cloud)`` is the same, kept for the whole
session: for validate, plan and reject, which leave nothing behind. Resource types that a module needs and the packs
lack are added to ``stub/types.txt``, then ``python -m tests.terraform.stub.rebuild``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.binary import need_genuine, terraform
from tests.terraform.harness import MODULES, Module
from tests.terraform.stub import mirror

ModuleOf = Callable[..., Module]


@pytest.fixture(scope="session")
def configurations(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """end -> the CLI configuration of its mirror, laid out once."""
    made: dict[str, Path] = {}

    def of(end: str) -> Path:
        if end not in made:
            folder = tmp_path_factory.mktemp(f"providers-{end}")
            if end == "genuine":
                made[end] = mirror.lay_out(folder, "old", {"hashicorp/aws": need_genuine("hashicorp/aws")})
            else:
                made[end] = mirror.lay_out(folder, end)
        return made[end]

    return of


@pytest.fixture(scope="session")
def _standing() -> Iterator[Callable[[str], str]]:
    """end -> where its providers stand: one process for the session, for starting one takes ten times what it does."""
    running: dict[str, mirror.Standing] = {}

    def of(end: str) -> str:
        if end == "genuine":
            return ""
        if end not in running:
            running[end] = mirror.Standing(end)
        return running[end].variable

    yield of
    for one in running.values():
        one.close()


@pytest.fixture(scope="session")
def _modules(
    tmp_path_factory: pytest.TempPathFactory,
    configurations: Callable[[str], Path],
    _standing: Callable[[str], str],
) -> ModuleOf:
    numbers = itertools.count()

    def made(
        cloud: str, end: str = "new", source: Path | None = None, providers: Mapping[str, Any] | None = None
    ) -> Module:
        terraform()
        folder = tmp_path_factory.mktemp(f"{cloud}-{end}-{next(numbers)}")
        ours = Module(cloud, source or MODULES / cloud, folder, configurations(end), providers)
        ours.standing = _standing(end)
        return ours

    return made


@pytest.fixture
def module(_modules: ModuleOf) -> ModuleOf:
    """``module("aws", end="old")``: a fresh copy, with a state of its own."""
    return _modules


@pytest.fixture(scope="session")
def once(_modules: ModuleOf) -> ModuleOf:
    """``once("aws")``: the same copy for the whole session, initialised once."""
    kept: dict[tuple[Any, ...], Module] = {}

    def of(cloud: str, end: str = "new", source: Path | None = None) -> Module:
        key = (cloud, end, source)
        if key not in kept:
            kept[key] = _modules(cloud, end, source)
        return kept[key]

    return of
