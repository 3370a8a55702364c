"""A module of ours in the hands of the real terraform binary, with providers of the stub. See ``conftest``."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.terraform.binary import terraform

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "infra" / "terraform"
TRIVIAL = Path(__file__).parent / "trivial"
PROVIDERS: dict[str, dict[str, Any]] = {
    "aws": {
        "aws": {
            "region": "eu-central-1", "access_key": "test", "secret_key": "test", "skip_credentials_validation": True,
            "skip_requesting_account_id": True, "skip_metadata_api_check": True,
        },
    },
    "gcp": {"google": {"project": "stub-project", "region": "europe-west1"}},
    "azure": {"azurerm": {"features": {}, "subscription_id": "00000000-0000-0000-0000-000000000000"}},
}  # fmt: skip
"""Configuration of each cloud's providers in the root module that the harness writes."""
_LEFT_OUT = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfplan")


@dataclass(frozen=True)
class Mistake:
    """One deliberate mistake: in ``file`` of the module ``right`` is written as ``wrong`` (both empty: none), with
    ``variables`` over the good ones. ``says``: what terraform's message has to match. ``at``: validate or plan."""

    name: str
    file: str = "main.tf"
    right: str = ""
    wrong: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    says: str = ""
    at: str = "validate"


class Failed(Exception):
    """terraform said no; the text is what it printed."""


@dataclass(frozen=True)
class Values:
    """What ``terraform show -json`` prints of a plan or a state."""

    document: dict[str, Any]

    def resources(self, kind: str = "") -> dict[str, dict[str, Any]]:
        """Address (without the root's ``module.this.``) -> values, of one type or all."""
        planned = self.document.get("planned_values") or self.document.get("values") or {}
        found = {}
        for one in _walk(planned.get("root_module", {})):
            if one["mode"] == "managed" and kind in ("", one["type"]):
                found[one["address"].removeprefix("module.this.")] = one["values"]
        return found

    def outputs(self) -> dict[str, Any]:
        planned = self.document.get("planned_values") or self.document.get("values") or {}
        value: dict[str, Any] = planned.get("outputs", {}).get("all", {}).get("value", {})
        return value

    def actions(self) -> dict[str, list[str]]:
        """Address -> what a plan does with it, without what stays as it is."""
        changes = self.document.get("resource_changes", [])
        return {c["address"].removeprefix("module.this."): c["change"]["actions"] for c in changes
                if c["change"]["actions"] not in (["no-op"], ["read"])}  # fmt: skip


class Module:
    """A copy of one module, and a root module beside it that calls it."""

    def __init__(
        self, cloud: str, source: Path, folder: Path, config: Path, providers: Mapping[str, Any] | None = None
    ) -> None:
        self.cloud, self.folder = cloud, folder
        self.module, self.root = folder / "module", folder / "root"
        self._config, self._providers = config, providers or PROVIDERS[cloud]
        shutil.copytree(source, self.module, ignore=_LEFT_OUT)
        self.root.mkdir()
        self._ready: set[Path] = set()
        self.environment: dict[str, str] = {}
        """More variables for terraform and its providers, which are then started by each run."""
        self.standing = ""
        """Where terraform finds providers that run already (``stub.mirror.Standing``), else it starts them."""
        self.log: Path | None = None
        """Where a genuine provider writes what it calls."""

    def validate(self, where: str = "") -> None:
        """The module itself, or a folder in it such as ``examples/minimal``. Raises Failed."""
        self._init(self.module / where)
        self._run("validate", cwd=self.module / where)

    def plan(self, variables: Mapping[str, Any]) -> Values:
        """Of the root that calls the module with ``variables``, against the state that ``apply`` left."""
        self._call(variables)
        self._run("plan", "-input=false", "-out=plan.tfplan")
        return Values(json.loads(self._run("show", "-json", "plan.tfplan")))

    def apply(self, variables: Mapping[str, Any]) -> Values:
        """Apply, and return the state."""
        self._call(variables)
        self._run("apply", "-input=false", "-auto-approve")
        return Values(json.loads(self._run("show", "-json")))

    def interrupt(self, variables: Mapping[str, Any], after: str) -> str:
        """Begin to apply, and interrupt it as Ctrl-C would when ``after`` is printed; returns what it printed."""
        self._call(variables)
        command, env = self._command("apply", "-input=false", "-auto-approve")
        with subprocess.Popen(command, cwd=self.root, env=env, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            printed = ""
            for line in running.stdout:
                if after in line and after not in printed:
                    running.send_signal(signal.SIGINT)
                printed += line
        assert running.returncode != 0, "it came to its end before it was interrupted"
        return printed

    def destroy(self) -> Values:
        self._run("destroy", "-input=false", "-auto-approve")
        return Values(json.loads(self._run("show", "-json")))

    def test(self) -> str:
        """``terraform test`` in the module; returns what it printed, raises Failed where a run failed."""
        self._init(self.module)
        return self._run("test", cwd=self.module)

    def reject(self, mistake: Mistake, good: Mapping[str, Any]) -> str:
        """Make the mistake, let terraform judge, undo it; returns the message. AssertionError where it was accepted,
        where it was refused for another reason, and where the module has no such text (any more)."""
        file = self.module / mistake.file
        before = file.read_text() if mistake.right else ""
        if mistake.right:
            assert mistake.right in before, f"{mistake.file} has no {mistake.right!r} to get wrong"
            file.write_text(before.replace(mistake.right, mistake.wrong, 1))
        try:
            self._call({**good, **mistake.variables})
            if mistake.at == "plan":
                self._run("plan", "-input=false")
            else:
                self._run("validate")
        except Failed as refused:
            told = " ".join(re.sub(r"[│╷╵]", " ", str(refused)).split())
            assert re.search(mistake.says, told), f"{mistake.name}: refused, but for another reason: {told[:1500]}"
            return told
        finally:
            if mistake.right:
                file.write_text(before)
        raise AssertionError(f"{mistake.name}: terraform accepted it")

    def _call(self, variables: Mapping[str, Any]) -> None:
        document = {
            "provider": self._providers,
            "module": {"this": {"source": "../module", **variables}},
            "output": {"all": {"value": "${module.this}", "sensitive": True}},
        }
        (self.root / "main.tf.json").write_text(json.dumps(document, indent=1))
        self._init(self.root)

    def _init(self, where: Path) -> None:
        if where not in self._ready:
            self._run("init", "-input=false", "-backend=false", cwd=where)
            self._ready.add(where)

    def _run(self, *arguments: str, cwd: Path | None = None) -> str:
        command, env = self._command(*arguments)
        done = subprocess.run(command, cwd=cwd or self.root, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"terraform {' '.join(arguments)}: {done.stdout[-6000:]}{done.stderr[-6000:]}")
        return done.stdout

    def _command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "AWS_", "ARM_", "GOOGLE_"))}
        env = {**clean, "TF_CLI_CONFIG_FILE": str(self._config), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        env |= {"AWS_EC2_METADATA_DISABLED": "true"}
        if self.standing and not self.environment and arguments[0] != "init":
            env |= {"TF_REATTACH_PROVIDERS": self.standing}
        env |= self.environment
        if self.log is not None:
            env |= {"TF_LOG_PROVIDER": "DEBUG", "TF_LOG_PATH": str(self.log)}
        return [terraform(), arguments[0], *(() if arguments[0] == "show" else ("-no-color",)), *arguments[1:]], env


def _walk(module: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = list(module.get("resources", []))
    for child in module.get("child_modules", []):
        found += _walk(child)
    return found
