"""Deploying a project to a cloud, step by step: parts, root module, plan, apply, what was deployed, and back.

PROJECT/deploy/CLOUD/             the root module: made once from the module's smallest example, then the user's
PROJECT/deploy/CLOUD/deployed/    the manifest of every deployment, by its time
OUT/CLOUD/                        code and project zips, the manifest, the plan, terraform.log
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from core.errors import ConfigInvalid, NotFound
from core.request import new_id
from infra.deploy.child import sweep
from infra.deploy.summary import Summary, summary
from infra.deploy.terraform import NotInitialized, Terraform, find
from infra.layer import ROOT
from infra.parts import parts
from infra.places import writing

MODULES = ROOT / "infra" / "terraform"
DEFAULTS = "omni.auto.tfvars.json"
_KEPT = 50
_BACK = "rolled_back"
_SHAPE: Mapping[str, type] = {"cloud": str, "code": dict, "project": dict, "secrets": list, "timers": dict}
_TEXTS = (("code", "file"), ("project", "file"), ("project", "digest"))
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One cloud's deployment of the project in ``root``.

    ``out``: where parts are built. ``modules``: where each cloud's Terraform module is. ``run``: names this run's own
    plan, so that two runs at once never carry out each other's.
    """

    cloud: str
    root: Path
    out: Path
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    modules: Path = MODULES
    run: str = field(default_factory=new_id)

    @property
    def folder(self) -> Path:
        return self.root / "deploy" / self.cloud

    @property
    def terraform(self) -> Terraform:
        return Terraform(self.folder, self.out.resolve() / self.cloud / "terraform.log")

    @property
    def plan_file(self) -> Path:
        return self.out.resolve() / self.cloud / f"{self.run}.tfplan"

    def check(self) -> None:
        """What would be told only after parts were built. Raises ConfigInvalid without a terraform that can be used,
        and where a workspace is chosen: ``deployed/`` would have the deployments of all workspaces in one row."""
        find()
        chosen, told = os.environ.get("TF_WORKSPACE"), "TF_WORKSPACE"
        marker = self.folder / ".terraform" / "environment"
        if not chosen and marker.is_file() and not self._in_hcp():
            chosen, told = marker.read_text("utf-8").strip(), f"`terraform workspace select` in {self.folder}"
        if chosen and chosen != "default":
            raise ConfigInvalid(
                f"{told} chooses the workspace {chosen!r}, but one folder is one deployment: its history is in "
                f"{self.folder / 'deployed'}. Use a project folder of its own for each, and the workspace `default`.",
                key="TF_WORKSPACE",
            )  # fmt: skip

    def _in_hcp(self) -> bool:
        """HCP Terraform calls by that name what a ``cloud`` block says."""
        return any(re.search(r"(?m)^\s*cloud\s*{", file.read_text("utf-8")) for file in self.folder.glob("*.tf"))

    def prepare(self, **options: Any) -> tuple[Path, bool]:
        """Build the parts and see that there is a root module; True where it was made now.

        Returns a manifest that no later build changes: its name says what is in it.
        """
        with writing(self.out / self.cloud):
            report = parts(self.cloud, self.root, self.out, **options)
            return self._frozen(read(report.manifest)), self._root_module()

    def plan(
        self, manifest: Path, calls_per_hour: Mapping[str, float | None], canary: Mapping[str, Any] | None = None
    ) -> Summary:
        """What applying ``manifest`` would change. Changes nothing in the cloud.

        ``canary``: a value of the root module's variable of that name, where it has one.
        """
        terraform = self.terraform
        sweep(self.plan_file.parent, "*.tfplan")  # of runs that were killed
        terraform.begin(self.run)
        terraform.init()
        given = {"manifest": str(manifest.resolve())}
        self._write_defaults(manifest)
        if canary is not None and self.takes("canary"):
            given["canary"] = json.dumps(canary)
        before = self._before(manifest)
        if before is not None and self.takes("previous_secrets"):
            given["previous_secrets"] = json.dumps(sorted(before["secrets"]))
        found = terraform.plan(self.plan_file, given)
        return summary(found, read(manifest), self.last(), calls_per_hour)

    def takes(self, variable: str) -> bool:
        """Whether the root module has a variable of that name."""
        declared = (file.read_text("utf-8") for file in self.folder.glob("*.tf"))
        return any(re.search(rf'(?m)^variable "{variable}"', text) for text in declared)

    def outputs(self) -> dict[str, Any]:
        """What the last apply told; empty before the first."""
        return self._known(self.terraform.outputs, {})

    def resources(self) -> list[str]:
        """Addresses of what is in the state, after an apply that did not finish too."""
        return self._known(self.terraform.resources, [])

    def _known(self, ask: Callable[[], T], none: T) -> T:
        if not any(self.folder.glob("*.tf")):
            return none
        try:
            return ask()
        except NotInitialized:  # a fresh checkout
            self.terraform.init()
            return ask()

    def apply(self, manifest: Path, *, settled: bool = True, back: bool = False) -> dict[str, Any]:
        """Carry out the last plan, and keep its manifest where it is ``settled``; returns the outputs.

        ``back``: it is one that was deployed before, and what came after it is taken back.
        """
        self.terraform.apply(self.plan_file)
        if settled:
            self.keep(manifest, back=back)
        return self.terraform.outputs()

    # ── what was deployed ────────────────────────────────────────────────────────────────────────────────────────

    def history(self) -> list[tuple[str, dict[str, Any]]]:
        """(time, manifest) of every deployment from here, oldest first."""
        return [(path.stem, read(path)) for path in sorted((self.folder / "deployed").glob("*.json"))]

    def last(self) -> dict[str, Any] | None:
        kept = self.history()
        return kept[-1][1] if kept else None

    def previous(self) -> Path:
        """A manifest beside the parts for the deployment before the one that serves; after a rollback, the one before.

        Raises NotFound where there is none, and ConfigInvalid where its zips are not in ``out`` any more, or damaged.
        """
        standing = _standing(manifest for _, manifest in self.history())
        if len(standing) < 2:
            raise NotFound(f"There is no earlier deployment in {self.folder / 'deployed'} to go back to.")
        earlier = {name: value for name, value in standing[-2].items() if name != _BACK}
        place = self.out / self.cloud
        for part in ("code", "project"):
            if why := _unusable(place / str(earlier[part]["file"]), earlier[part].get("sha256")):
                raise ConfigInvalid(
                    f"{earlier[part]['file']} of the earlier deployment {why.format(place)}: check out the project "
                    "and OmniSentinel as they were, and deploy those; the same input gives the same files.",
                    file=str(place / earlier[part]["file"]),
                )  # fmt: skip
        return self._frozen(earlier)

    def _before(self, manifest: Path) -> Mapping[str, Any] | None:
        """What ``manifest`` comes after: what serves now or, where it serves itself, what served before it."""
        told, standing = files(read(manifest)), _standing(kept for _, kept in self.history())
        return next((one for one in reversed(standing) if files(one) != told), None)

    def discard(self) -> None:
        """Remove this run's plan: it holds every value that Terraform knows."""
        self.plan_file.unlink(missing_ok=True)

    def _frozen(self, manifest: Mapping[str, Any]) -> Path:
        text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
        place = self.out / self.cloud / f"deployment-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        if not place.is_file() or place.read_text("utf-8") != text:
            draft = place.with_suffix(f".{self.run}")
            draft.write_text(text, "utf-8")
            draft.replace(place)
        return place

    def settle(self, manifest: Path) -> None:
        """Note that ``manifest`` is deployed where that is not known: a run before this one ended before it said so."""
        last = self.last()
        if last is None or files(last) != files(read(manifest)):
            self.keep(manifest)

    def keep(self, manifest: Path, *, back: bool = False) -> None:
        """Note that ``manifest`` is deployed; ``back``: again, and not what came after it."""
        kept = self.folder / "deployed"
        kept.mkdir(exist_ok=True)
        place = kept / f"{self.clock():%Y%m%dT%H%M%S.%fZ}.json"
        draft = place.with_suffix(".new")
        text = json.dumps(read(manifest) | ({_BACK: True} if back else {}), indent=2, sort_keys=True)
        draft.write_text(f"{text}\n", "utf-8")
        draft.replace(place)
        for old in sorted(kept.glob("*.json"))[:-_KEPT]:
            old.unlink()

    def _write_defaults(self, manifest: Path) -> None:
        """So that Terraform's own commands (destroy, plan) need no variable by hand."""
        place = os.path.relpath(manifest.resolve(), self.folder.resolve())
        (self.folder / DEFAULTS).write_text(json.dumps({"manifest": place}) + "\n", "utf-8")

    def _root_module(self) -> bool:
        if any(self.folder.glob("*.tf")):
            return False
        example = self.modules / self.cloud / "examples" / "minimal"
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(example.glob("*.tf")):
            module = os.path.relpath(self.modules / self.cloud, self.folder)
            text = file.read_text("utf-8").replace('"../.."', json.dumps(module))
            (self.folder / file.name).write_text(text, "utf-8")
        (self.folder / ".gitignore").write_text(f".terraform/\n*.tfstate*\n{DEFAULTS}\n", "utf-8")
        return True


def _unusable(zipped: Path, digest: str | None) -> str | None:
    if not zipped.is_file():
        return "is not in {}"
    with zipped.open("rb") as file:
        damaged = digest is not None and hashlib.file_digest(file, "sha256").hexdigest() != digest
    return "was changed or is damaged in {}" if damaged else None


def _standing(manifests: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The deployments that were not taken back, oldest first; the last one serves. One after the other differ."""
    standing: list[Mapping[str, Any]] = []
    for manifest in manifests:
        if manifest.get(_BACK):
            while len(standing) > 1 and files(standing[-1]) != files(manifest):
                standing.pop()
        if not standing or files(standing[-1]) != files(manifest):
            standing.append(manifest)
    return standing


def files(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """Names of the code zip and the project zip."""
    return str(manifest["code"]["file"]), str(manifest["project"]["file"])


def read(path: Path) -> dict[str, Any]:
    """A manifest. Raises ConfigInvalid for a file that is none."""
    try:
        found: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _no_manifest(path, f"{error}") from None
    if not isinstance(found, dict):
        raise _no_manifest(path, "it is no mapping")
    missing = [name for name in _SHAPE if name not in found]
    if missing:
        raise _no_manifest(path, f"it lacks {', '.join(missing)}")
    wrong = [name for name, kind in _SHAPE.items() if not isinstance(found[name], kind)]
    wrong = wrong or [f"{a}.{b}" for a, b in _TEXTS if not isinstance(found[a].get(b), str)]
    wrong = wrong or [f"timers.{name}" for name, one in found["timers"].items() if not _is_timer(one)]
    if wrong:
        raise _no_manifest(path, f"{', '.join(wrong)} cannot be right")
    return found


def _is_timer(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("cron"), str) and isinstance(one.get("timezone"), str)


def _no_manifest(path: Path, why: str) -> ConfigInvalid:
    return ConfigInvalid(
        f"{path} is no manifest of a deployment: {why}. Have it again from version control, or take the file away.",
        file=str(path),
    )
