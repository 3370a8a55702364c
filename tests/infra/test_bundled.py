"""Data that a cloud would miss is told when a project is bundled."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigInvalid
from infra.bundle import stage_project
from infra.contents import project_files
from infra.parts import parts
from tests.handlers.conftest import write_project
from tests.infra.bundles import HOOK
from tests.runtimes.places import python313


@pytest.fixture
def company(tmp_path: Path) -> Path:
    root = write_project(tmp_path / "company", HOOK)
    (tmp_path / "outside").mkdir()
    shutil.copy(root / "shop.db", tmp_path / "outside" / "shop.db")
    shutil.copy(root / "tickets" / "open.csv", tmp_path / "outside" / "open.csv")
    return root


def sources(company: Path, more: str) -> None:
    text = (company / "omni.yaml").read_text()
    (company / "omni.yaml").write_text(text.replace("channels:", f"  more: {more}\nchannels:"))


def staged(company: Path) -> set[str]:
    own = Path(tempfile.mkdtemp(dir=company.parent))
    stage_project(own, company, project_files(company).taken)
    return {path.relative_to(own / "project").as_posix() for path in (own / "project").rglob("*") if path.is_file()}


FILES, SQLITE = "{{connector: files, path: {}}}", "{{connector: sqlite, url: {}}}"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (FILES.format("../outside"), r"\.\./outside lies outside of the project's folder"),
        (FILES.format("/srv/data"), "/srv/data is a place of this machine"),
        (FILES.format("~/data"), "~/data is a place of this machine"),
        (FILES.format('"."'), r"'\.' is the project's folder itself.*own, or name it by a pattern"),
        (FILES.format("./tickets/.."), "lies outside of the project's folder"),
        (FILES.format("nowhere"), "there is no nowhere in the project's folder"),
        (FILES.format('"*.parquet"'), r"nothing of \*\.parquet is bundled"),
        (FILES.format("linked"), "linked lies outside of the project's folder"),
        (FILES.format("deploy"), "nothing of deploy is bundled: .*Terraform's state"),
        (FILES.format(".env"), "nothing of .env is bundled"),
        (SQLITE.format('"sqlite:///nope.db"'), "there is no nope.db in the project's folder"),
        (SQLITE.format('"sqlite:///../outside/shop.db"'), "lies outside of the project's folder"),
        (SQLITE.format('"sqlite:////srv/shop.db"'), "place of this machine"),
    ],
)
def test_a_source_whose_data_would_not_be_there_is_refused_with_its_place(
    company: Path, source: str, says: str
) -> None:
    (company / "linked").symlink_to(company.parent / "outside")
    (company / "deploy" / "aws").mkdir(parents=True)
    (company / "deploy" / "aws" / "a.json").write_text("[]")
    sources(company, source)
    with pytest.raises(ConfigInvalid, match=f"omni.yaml:5: source 'more': .*{says}") as refused:
        staged(company)
    assert refused.value.details == {"file": "omni.yaml", "line": 5, "sources": ["more"]}
    assert "folder" in refused.value.message or "Put" in refused.value.message


@pytest.mark.parametrize(
    ("source", "brings"),
    [
        (SQLITE.format('"${SHOP_URL}"'), None),
        (SQLITE.format('"${SHOP_URL:-sqlite:////srv/shop.db}"'), None),
        (SQLITE.format('"secret:shop_url"'), None),
        (FILES.format('"${DATA}/x"'), None),
        (FILES.format("./data"), "data/deep/a.json"),
        (FILES.format('"data/*.csv"'), "data/a.csv"),
        (FILES.format('"*.csv"'), "top.csv"),
        (FILES.format("data/a.csv"), "data/a.csv"),
        ("{connector: github}", None),
    ],
)
def test_what_is_bundled_or_only_the_cloud_knows_is_left(company: Path, source: str, brings: str | None) -> None:
    (company / "data" / "deep").mkdir(parents=True)
    for name in ("top.csv", "data/a.csv", "data/deep/a.json"):
        (company / name).write_text("[]")
    sources(company, source)
    found = staged(company)
    assert brings is None or brings in found


def test_every_source_is_told_at_once_and_nothing_is_built(company: Path) -> None:
    python313()
    sources(company, FILES.format("/srv/data"))
    (company / "shop.db").unlink()
    with pytest.raises(ConfigInvalid) as refused:
        parts("aws", company, company.parent / "dist", offline=True)
    assert refused.value.details["sources"] == ["shop", "more"]
    assert not list((company.parent / "dist").rglob("*.zip"))


def test_a_database_beside_its_sqlsentinel_file_goes_along(company: Path) -> None:
    shutil.copy(company / "shop.db", company / "alerts" / "legacy.db")
    (company / "alerts" / "old.yaml").write_text(
        "database: {url: 'sqlite:///legacy.db'}\nalerts:\n"
        "  - {name: old, query: SELECT 1 AS actual_value, schedule: '0 9 * * *'}\n"
    )
    assert "alerts/legacy.db" in staged(company)
    (company / "alerts" / "legacy.db").unlink()
    with pytest.raises(ConfigInvalid, match=r"alerts/old\.yaml:1: source '_old': there is no legacy\.db"):
        staged(company)


def test_terraforms_state_is_in_no_bundle_and_its_files_are_not_called_left_out(company: Path) -> None:
    sources(company, FILES.format('"**/*"'))
    for name in ("deploy/aws/.terraform/providers/x", "deploy/aws/main.tf", "deploy/aws/terraform.tfstate", ".git/HEAD",
                 "tickets/terraform.tfstate", "tickets/terraform.tfstate.backup", "tickets/a.auto.tfvars.json",
                 "deploy/aws/deployed/1.json", "notes.txt"):  # fmt: skip
        (company / name).parent.mkdir(parents=True, exist_ok=True)
        (company / name).write_text("{}")
    found = project_files(company)
    assert not [name for name in found.taken if name.startswith("deploy/") or ".tf" in name]
    assert found.left == (".env",)


def test_a_bundle_of_any_kind_is_refused(company: Path) -> None:
    from infra.bundle import build

    python313()
    sources(company, SQLITE.format('"sqlite:///nope.db"'))
    for make in (build, parts):
        made: Any = make
        with pytest.raises(ConfigInvalid, match=r"nope\.db"):
            made("gcp", company, company.parent / "dist", offline=True)


@pytest.mark.parametrize("where", ["tickets/linked.csv", "policies/linked.yaml"])
def test_a_link_that_leads_out_of_the_project_is_refused(company: Path, where: str) -> None:
    """What it leads to would leave this machine, though no source reads it here."""
    (company / where).symlink_to(company.parent / "outside" / "open.csv")
    with pytest.raises(ConfigInvalid, match=f"{where} is a link that leads out"):
        project_files(company)
    (company / where).unlink()
    (company / "tickets" / "inside.csv").symlink_to("open.csv")
    assert "tickets/inside.csv" in staged(company)
