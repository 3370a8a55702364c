"""What is in a bundle, what is not, and what is said when one cannot be made."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

from core.errors import ConfigInvalid
from handlers.clouds import FUNCTIONS
from infra import bundle as bundling
from infra import interpreter
from infra.contents import CLOUDS, project_files
from infra.layer import ROOT, requirements
from tests.infra.bundles import bundle
from tests.runtimes.places import python313

AT = {"azure": ".python_packages/lib/site-packages/"}
SDKS = {
    "aws": ("botocore", "aws_lambda_powertools"),
    "gcp": ("google",),
    "azure": ("azure",),
}


def names(cloud: str, shared: Path) -> list[str]:
    with zipfile.ZipFile(bundle(cloud, shared).path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_it_has_that_clouds_code_and_no_others(cloud: str, shared: Path) -> None:
    found = names(cloud, shared)
    for other in CLOUDS:
        place = AT.get(cloud, "")
        has_code = any(n.startswith(f"handlers/{other}/") for n in found)
        has_sdk = any(n.startswith(f"{place}{sdk}/") for n in found for sdk in SDKS[other])
        assert has_code == (other == cloud), other
        assert has_sdk == (other == cloud), other
    assert not any(n.startswith(("tests/", "infra/", "handlers/local/")) for n in found)
    assert not any(n.startswith(("functions_framework/", "flask/")) for n in found), "Google's build brings them"
    assert not any(re.match(rf"{re.escape(AT.get(cloud, ''))}(pandas|pyarrow|numpy|pip|setuptools)/", n) for n in found)
    assert not any("/tests/" in n for n in found)
    assert "core/__init__.py" in found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_it_is_under_the_limit_and_says_its_size(cloud: str, shared: Path) -> None:
    report = bundle(cloud, shared)
    with zipfile.ZipFile(report.path) as archive:
        assert report.unzipped_bytes == sum(i.file_size for i in archive.infolist()) < 250_000_000
        assert report.files == len(archive.infolist())
    assert report.zipped_bytes == report.path.stat().st_size
    text = bundling.describe(report)
    assert f"{report.unzipped_bytes / 1e6:.1f} MB unzipped" in text
    assert ".env" in text, "what was left out is said"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_module_brings_bytecode_that_a_read_only_disk_can_use(cloud: str, shared: Path) -> None:
    with zipfile.ZipFile(bundle(cloud, shared).path) as archive:
        found = set(archive.namelist())
        ours = [n for n in found if n.startswith(("core/", "handlers/")) and n.endswith(".py")]
        for name in ours:
            folder, _, file = name.rpartition("/")
            compiled = f"{folder}/__pycache__/{file[:-3]}.cpython-313.pyc"
            assert compiled in found
            assert int.from_bytes(archive.read(compiled)[4:8], "little") == 0b01, "hash-based and unchecked"
    modules = [n for n in found if n.endswith(".py")]
    bytecode = [n for n in found if n.endswith(".cpython-313.pyc")]
    assert len(bytecode) >= 0.99 * len(modules)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_project_is_in_it_and_no_secret_or_state(cloud: str, shared: Path) -> None:
    found = {n for n in names(cloud, shared) if n.startswith("project/")}
    assert found == {
        "project/omni.yaml", "project/policies/shop.yaml", "project/policies/desk.yaml", "project/alerts/stock.yaml",
        "project/shop.db", "project/tickets/open.csv",
    }  # fmt: skip
    with zipfile.ZipFile(bundle(cloud, shared).path) as archive:
        validated = json.loads(archive.read("project.json"))
    assert set(validated["document"]["sources"]) == {"shop", "desk"}


@pytest.mark.parametrize(("cloud", "shim"), [("aws", []), ("gcp", ["main.py", "requirements.txt"]),
                                             ("azure", ["function_app.py", "host.json"])])  # fmt: skip
def test_the_root_has_the_shims_its_runtime_asks_for(cloud: str, shim: list[str], shared: Path) -> None:
    found = names(cloud, shared)
    known = {"main.py", "requirements.txt", "function_app.py", "host.json"}
    assert sorted(n for n in found if n in known) == sorted(shim)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_same_input_gives_the_same_bytes(cloud: str, shared: Path, tmp_path: Path) -> None:
    first = bundle(cloud, shared)
    again = bundling.build(cloud, shared / f"company-{cloud}", tmp_path / "again.zip", offline=True)
    assert again.digest == first.digest


def test_a_changed_project_gives_another_digest(shared: Path, tmp_path: Path, project: Path) -> None:
    python313()
    first = bundling.build("gcp", project, tmp_path / "one.zip", offline=True)
    (project / "tickets" / "open.csv").write_text("order_id,state\n1,closed\n")
    assert bundling.build("gcp", project, tmp_path / "two.zip", offline=True).digest != first.digest


def test_too_large_names_the_largest(project: Path, tmp_path: Path) -> None:
    python313()
    (project / "tickets" / "closed.csv").write_text("order_id,state\n" + "1,closed\n" * 200_000)
    says = r"duckdb.*Data files: tickets/closed\.csv 1\.8 MB \(source desk\), shop\.db .*\(source shop\).* Name fewer"
    with pytest.raises(ConfigInvalid, match=says) as caught:
        bundling.build("aws", project, tmp_path, offline=True, limit=100_000_000)
    assert caught.value.details["limit_bytes"] == 100_000_000
    assert not (tmp_path / "aws.zip").exists()


def test_a_mistake_in_the_project_is_found_now_and_not_in_the_cloud(project: Path, tmp_path: Path) -> None:
    python313()
    (project / "omni.yaml").write_text((project / "omni.yaml").read_text() + "sourcse: {}\n")
    with pytest.raises(ConfigInvalid, match="sourcse"):
        bundling.build("aws", project, tmp_path, offline=True)


def test_what_is_missing_is_said(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigInvalid, match="Unknown cloud"):
        bundling.build("ibm", project, tmp_path)
    with pytest.raises(ConfigInvalid, match=r"no omni\.yaml"):
        bundling.build("aws", tmp_path, tmp_path)
    with pytest.raises(ConfigInvalid, match="--prefetch"):
        bundling.build("aws", project, tmp_path, python="3.12", offline=True)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    with pytest.raises(ConfigInvalid, match=f"--python {re.escape(interpreter.RUNNING)}"):
        interpreter.find("3.99")


def test_a_driver_comes_only_with_a_source_that_uses_it() -> None:
    assert not any("psycopg" in text for text in requirements("aws", ["sqlite"]))
    assert any("psycopg" in text for text in requirements("aws", ["sqlite", "postgres"]))
    assert not any("functions-framework" in text for text in requirements("gcp", []))


def test_only_what_a_source_names_below_the_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.db").write_text("x")
    root = tmp_path / "p"
    for folder in ("data/deep", "keys", ".omni", "alerts", "connectors/own"):
        (root / folder).mkdir(parents=True)
    for file in ("data/a.csv", "data/deep/b.parquet", "data/.hidden", "keys/tls.pem", "shop.db", "shop.db-wal",
                 "legacy.db", ".omni/state.db", "notes.txt", "alerts/a.yaml", "connectors/own/connector.yaml",
                 "connectors/own/notes.md"):  # fmt: skip
        (root / file).write_text("x")
    (root / "alerts" / "a.yaml").write_text("database: {url: 'sqlite:///legacy.db'}\nalerts: []\n")
    (root / "omni.yaml").write_text("""\
version: 1
sources:
  files: {connector: files, path: ./data}
  tls: {connector: files, path: "keys/*"}
  shop: {connector: sqlite, url: "sqlite:///shop.db"}
  state: {connector: sqlite, url: "sqlite:///.omni/state.db"}
  above: {connector: sqlite, url: "sqlite:///../elsewhere.db"}
  absolute: {connector: sqlite, url: "sqlite:////etc/passwd"}
  remote: {connector: postgres, url: "${CRM_URL}"}
  everything: {connector: files, path: "."}
channels:
  ops: {type: webhook, url: "notes.txt"}
""")
    found = project_files(root)
    assert set(found.taken) == {
        "omni.yaml", "alerts/a.yaml", "connectors/own/connector.yaml", "data/a.csv", "data/deep/b.parquet", "shop.db",
        "legacy.db",
    }  # fmt: skip
    assert {"notes.txt", "shop.db-wal", "keys/tls.pem", "data/.hidden"} <= set(found.left)
    assert found.connectors == {"files", "sqlite", "postgres"}


def test_every_function_named_for_a_cloud_is_there() -> None:
    for cloud, functions in FUNCTIONS.items():
        assert set(functions) == {"ask", "watch", "work"}
        source = (ROOT / "handlers" / cloud / "main.py").read_text()
        for name in functions:
            assert f"\ndef {name}(" in source
