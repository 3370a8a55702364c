"""The README's every command runs as written, in its order."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SHELL = re.compile(r"```sh\n(.*?)```", re.S)
# These run the whole suite, which runs this: that they exist is all that can be asked of them here.
WHOLE = {"make test", "make check", "make bench"}


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    return [line for block in SHELL.findall(text) for line in block.strip().splitlines() if line.strip()]


def test_there_are_commands() -> None:
    assert "make demo" in commands()
    assert len(commands()) > 12


@pytest.mark.xdist_group("readme")
def test_every_command_runs_as_written(tmp_path: Path) -> None:
    for name in (
        "Makefile",
        "requirements.lock",
        "pyproject.toml",
        ".venv",
        "samples",
        "tests",
        "core",
        "handlers",
        "infra",
    ):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "build").mkdir()
    if (ROOT / "build" / "replay").exists():
        (tmp_path / "build" / "replay").symlink_to(ROOT / "build" / "replay")
    script = ["set -e"]
    for command in commands():
        shown = command.replace("'", "'\\''")
        script.append(f"echo '$ {shown}'")
        script.append(f"make -n {command.split()[1]} >/dev/null" if command in WHOLE else command)
    # The last block is meant for the checkout, not for the project that the block before has entered.
    text = "\n".join(script).replace("echo '$ make test'", f"cd {tmp_path}\necho '$ make test'")
    env = {k: v for k, v in os.environ.items() if k not in ("GITHUB_TOKEN", "OMNI_AS", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(["bash", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Message-ID:" in done.stdout
    assert "north" in done.stdout


def test_documents_that_are_linked_exist() -> None:
    for document in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)} links {target}"


def test_decisions_are_all_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text("utf-8")
    for page in folder.glob("0*.md"):
        assert page.name in listed


def test_files_stay_readable() -> None:
    """No file of the product grows past what a reader can hold."""
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("core", "handlers", "infra")
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text("utf-8").splitlines())) > 480
    }
    assert long == {}


def test_every_setting_is_documented() -> None:
    from dataclasses import fields

    from core.settings import Settings

    text = (ROOT / "docs" / "functions.md").read_text("utf-8")
    missing = [f.name for f in fields(Settings) if f"OMNI_{f.name.upper()}" not in text]
    assert missing == []
