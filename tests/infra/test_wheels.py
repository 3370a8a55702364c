"""Which wheels a target gets, and that only the files the lock names are used."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from core.errors import ConfigInvalid
from infra.layer import ROOT, compile_all, pack
from infra.wheels import Pin, Target, closure, lock, unpack

Pins = dict[str, list[Pin]]
LOCK = """\
base==1.0 \\
    --hash=sha256:{base}
    # via project
needed==1.0 ; python_full_version < '3.13' \\
    --hash=sha256:{needed_old}
needed==2.0 ; python_full_version >= '3.13' \\
    --hash=sha256:{needed_new}
extra-only==1.0 \\
    --hash=sha256:{extra_only}
windows-only==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:{base}
"""


def wheel(cache: Path, name: str, version: str, *requires: str) -> str:
    cache.mkdir(exist_ok=True)
    module = name.replace("-", "_")
    path = cache / f"{module}-{version}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {r}\n" for r in requires)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{module}-{version}.dist-info/METADATA", metadata)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "wheels"


@pytest.fixture
def pins(tmp_path: Path, cache: Path) -> Pins:
    text = LOCK.format(
        base=wheel(cache, "base", "1.0", "needed", 'extra-only; extra == "more"', 'windows-only; os_name == "nt"'),
        needed_old=wheel(cache, "needed", "1.0"), needed_new=wheel(cache, "needed", "2.0"),
        extra_only=wheel(cache, "extra-only", "1.0", "base"),
    )  # fmt: skip
    (tmp_path / "requirements.lock").write_text(text)
    return lock(tmp_path / "requirements.lock")


def chosen(root: str, pins: Pins, python: str, cache: Path) -> set[str]:
    return {path.name.split("-py3")[0] for path in closure([root], pins, Target(python), cache, offline=True).values()}


def test_markers_are_the_targets_and_not_this_interpreters(pins: Pins, cache: Path) -> None:
    assert chosen("base", pins, "3.13", cache) == {"base-1.0", "needed-2.0"}
    assert chosen("base", pins, "3.11", cache) == {"base-1.0", "needed-1.0"}
    assert chosen("base[more]", pins, "3.13", cache) == {"base-1.0", "needed-2.0", "extra_only-1.0"}


def test_a_file_that_the_lock_does_not_name_is_not_used(pins: Pins, cache: Path) -> None:
    (cache / "base-1.0-py3-none-any.whl").write_bytes((cache / "extra_only-1.0-py3-none-any.whl").read_bytes())
    with pytest.raises(ConfigInvalid, match=r"base-1\.0.*requirements\.lock"):
        chosen("base", pins, "3.13", cache)


def test_what_the_lock_does_not_have_is_said(pins: Pins, cache: Path) -> None:
    with pytest.raises(ConfigInvalid, match="make lock"):
        chosen("other", pins, "3.13", cache)
    with pytest.raises(ConfigInvalid, match="make lock"):
        chosen("base>=2", pins, "3.13", cache)
    (cache / "needed-2.0-py3-none-any.whl").unlink()
    with pytest.raises(ConfigInvalid, match=r"needed==2\.0"):
        chosen("base", pins, "3.13", cache)


def test_the_projects_own_lock_has_every_line() -> None:
    text = (ROOT / "requirements.lock").read_text()
    listed = [line for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    assert sum(len(found) for found in lock(ROOT / "requirements.lock").values()) == len(listed) > 50


def test_only_modules_are_unpacked_and_only_below_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a/__init__.py", "a-1.0.data/purelib/b.py", "a-1.0.data/platlib/c.so", "a-1.0.data/scripts/run",
                     "../escaped.py", "a-1.0.data/purelib/../../escaped.py", "/absolute.py"):  # fmt: skip
            archive.writestr(name, "x")
    unpack([path], tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"a/__init__.py", "b.py", "c.so"}
    assert not (tmp_path / "escaped.py").exists()


def test_code_that_does_not_compile_names_its_file(tmp_path: Path) -> None:
    import sys

    (tmp_path / "broken.py").write_text("def f(:\n")
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(ConfigInvalid, match=r"broken\.py"):
        compile_all(tmp_path, running, strict=True)
    compile_all(tmp_path, running, strict=False)


def test_a_file_of_ours_never_hides_a_dependencys(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "six.py").write_text("ours")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("six.py", "theirs")
        with pytest.raises(ConfigInvalid, match=r"six\.py"):
            pack(tmp_path / "own", archive)
