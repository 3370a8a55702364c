"""What Terraform is given: two zips whose names say what is in them, and a manifest that needs no second list."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigInvalid
from core.settings import Settings
from handlers import place
from infra.contents import CLOUDS
from infra.parts import PartsReport, parts
from tests.handlers.conftest import write_project
from tests.infra.bundles import HOOK
from tests.runtimes.places import python313

pytestmark = pytest.mark.xdist_group("parts")  # the code zip is made once


@pytest.fixture
def company(tmp_path: Path) -> Path:
    python313()
    return write_project(tmp_path / "company", HOOK)


def made(cloud: str, company: Path, **more: Any) -> PartsReport:
    return parts(cloud, company, company.parent / "dist", offline=True, **more)


def manifest(report: PartsReport) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report.manifest.read_text())
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_manifest_says_what_the_files_are(cloud: str, company: Path) -> None:
    report = made(cloud, company)
    told = manifest(report)
    for part, path in (("code", report.code), ("project", report.project)):
        digest = hashlib.sha256(path.read_bytes())
        assert told[part]["file"] == path.name == f"{part}-{digest.hexdigest()[:12]}.zip"
        assert told[part]["sha256"] == digest.hexdigest()
        assert base64.b64decode(told[part]["sha256_base64"]) == digest.digest()
        assert told[part]["bytes"] == path.stat().st_size
    assert (told["version"], told["cloud"], told["python"]) == (1, cloud, "3.13")
    assert told["secrets"] == ["ann_key", "hook_key", "ops_key"]
    assert set(told["timers"]) == {"low-stock", "sweep"}
    assert told["timers"]["low-stock"]["payload"] == {"alert": "low-stock"}
    assert told["timers"]["sweep"]["payload"] == {"sweep": True}
    assert (told["watch_timeout_s"], told["ask_timeout_s"]) == (120, 60)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_code_and_project_lie_apart(cloud: str, company: Path) -> None:
    report = made(cloud, company)
    prefix = "omnisentinel/" if cloud == "aws" else ""
    code, project = (set(zipfile.ZipFile(path).namelist()) for path in (report.code, report.project))
    assert {f"{prefix}project/omni.yaml", f"{prefix}project/shop.db", f"{prefix}project.json"} <= project
    assert all(name.startswith((f"{prefix}project/", f"{prefix}project.json")) for name in project)
    assert "core/app.py" in code and not any("project/" in name or name == "project.json" for name in code)
    assert not any(".env" in name or "state.db" in name for name in code | project)


def test_a_change_of_yaml_leaves_the_code_zip_alone(company: Path) -> None:
    first = made("aws", company)
    before = first.code.stat()
    alert = company / "alerts" / "stock.yaml"
    alert.write_text(alert.read_text().replace("0 9 * * *", "30 7 * * 1"))
    second = made("aws", company)
    assert second.reused and second.code == first.code
    after = second.code.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "not even written again"
    assert second.project != first.project and first.project.is_file(), "what is deployed stays for a rollback"
    assert manifest(second)["timers"]["low-stock"]["native"] == {"expression": "cron(30 7 ? * 2 *)"}


def test_the_same_input_gives_the_same_files(company: Path) -> None:
    first = made("gcp", company)
    text = first.manifest.read_text()
    again = parts("gcp", company, company.parent / "elsewhere", offline=True)
    assert again.manifest.read_text() == text
    assert again.code.read_bytes() == first.code.read_bytes()


def test_a_damaged_file_is_written_again(company: Path) -> None:
    first = made("aws", company)
    first.project.write_bytes(b"cut off")
    assert zipfile.ZipFile(made("aws", company).project).testzip() is None


def test_what_earlier_builds_made_is_not_called_left_out(company: Path) -> None:
    parts("gcp", company, company / "dist", offline=True)
    assert parts("gcp", company, company / "dist", offline=True).left_out == (".env",)


def test_environment_and_secrets_are_those_of_the_project(company: Path) -> None:
    text = (company / "omni.yaml").read_text()
    (company / "omni.yaml").write_text(text.replace(
        "channels:", '  crm: {connector: sqlite, url: "${CRM_URL}"}\n  own: {connector: sqlite, url: "${X:-sqlite:///a.db}"}\nchannels:'
    ))  # fmt: skip
    assert manifest(made("gcp", company))["environment"] == ["CRM_URL"], "one with a default need not be set"


def test_what_is_only_said_is_no_reference(company: Path) -> None:
    alert(company, "talk", description='"see secret:runbook. It costs ${DOLLARS}"')
    told = manifest(made("aws", company))
    assert (told["secrets"], told["environment"]) == (["ann_key", "hook_key", "ops_key"], [])


def alert(company: Path, name: str, **more: str) -> None:
    lines = [f"name: {name}", "query: SELECT 1 AS actual_value, 'OK' AS status", "as: {name: b, roles: [bot]}"]
    (company / "alerts" / f"{name}.yaml").write_text(
        "\n".join([*lines, *(f"{k}: {v}" for k, v in more.items())]) + "\n"
    )


def test_every_schedule_that_cannot_be_expressed_is_named_with_its_place(company: Path) -> None:
    alert(company, "monthly", schedule='"0 9 1 * *"')
    alert(company, "odd", schedule='"0 9 13 * 5"')
    alert(company, "quiet", schedule='"0 9 13 * 5"', enabled="false")
    with pytest.raises(ConfigInvalid) as refused:
        made("azure", company)
    assert "monthly.yaml:" in refused.value.message and "alert 'monthly'" in refused.value.message
    assert "alert 'odd'" in refused.value.message and "quiet" not in refused.value.message
    with pytest.raises(ConfigInvalid, match="odd") as refused:
        made("aws", company)
    assert "monthly" not in refused.value.message
    assert not (company.parent / "dist" / "aws" / "deployment.json").exists()


def test_an_alert_named_like_the_sweep_is_refused(company: Path) -> None:
    alert(company, "sweep", schedule='"0 9 * * *"')
    with pytest.raises(ConfigInvalid, match="give the alert another"):
        made("aws", company)


def test_an_alert_that_outlives_its_function_is_refused(company: Path) -> None:
    alert(company, "long", schedule='"0 9 * * *"', timeout="14m")
    with pytest.raises(ConfigInvalid, match=r"long\.yaml.*900 s"):
        made("aws", company)
    assert manifest(made("gcp", company))["watch_timeout_s"] == 14 * 60 + 90


def test_too_large_is_said_with_what_is_large(company: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"2 MB are allowed\. Largest: _duckdb.*shop\.db .*\(source shop\)"):
        made("gcp", company, limit=2_000_000)
    assert not (company.parent / "dist" / "gcp" / "deployment.json").exists()


# ── how a function finds it ──────────────────────────────────────────────────────────────────────────────────────


class Blobs:
    def __init__(self, **blobs: bytes) -> None:
        self.blobs = {name.replace("__", "/"): body for name, body in blobs.items()}
        self.read: list[str] = []

    def get(self, name: str) -> bytes | None:
        self.read.append(name)
        return self.blobs.get(name)

    def put(self, name: str, body: bytes, **_options: Any) -> None:
        self.blobs[name] = body

    def delete(self, name: str) -> None:
        del self.blobs[name]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_project_that_is_a_blob_is_fetched_once_and_not_validated_again(company: Path, temporary: Path) -> None:
    report = made("gcp", company)
    name = f"projects/{report.project.name}"
    blobs = Blobs()
    blobs.put(name, report.project.read_bytes())
    settings = Settings(project_object=name)
    for _ in range(2):
        place.fetch(settings, blobs)
    assert blobs.read == [name]
    folder = place.folder(settings)
    (folder / "omni.yaml").write_text("not: [valid")
    assert set(place.load(folder, {}).alerts) == {"low-stock"}, "what was validated when it was bundled counts"


def test_a_folder_that_others_can_write_is_not_used(company: Path, temporary: Path) -> None:
    name = f"projects/{made('gcp', company).project.name}"
    folder = place.folder(Settings(project_object=name)).parent
    folder.mkdir(parents=True)
    folder.parent.chmod(0o777)
    with pytest.raises(ConfigInvalid, match="belongs to others"):
        place.fetch(Settings(project_object=name), Blobs())


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("projects/project-0123456789ab.zip", None, "no project"),
        ("projects/other.zip", b"", "no project"),
        ("projects/project-0123456789ab.zip", b"altered", "not what it was deployed as"),
        (f"projects/project-{hashlib.sha256(b'no zip').hexdigest()[:12]}.zip", b"no zip", "not a zip"),
    ],
)
def test_a_blob_that_is_not_the_project_is_refused(temporary: Path, name: str, body: bytes | None, says: str) -> None:
    blobs = Blobs()
    if body is not None:
        blobs.put(name, body)
    with pytest.raises(ConfigInvalid, match=says):
        place.fetch(Settings(project_object=name), blobs)
    assert not place.folder(Settings(project_object=name)).exists()
    with pytest.raises(ConfigInvalid, match="OMNI_OBJECTS"):
        place.fetch(Settings(project_object=name), None)
