"""`omni deploy`: parts, plan, apply, status, rollback. What each step does is in ``infra.deploy``."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigInvalid, Error, SourceError
from core.project import FILE
from handlers.local.cli_common import load_project, note, open_app, print_json, project_root, say, wants_json
from handlers.local.cli_deploy_status import say_outputs, status

if TYPE_CHECKING:
    from core.project import Project
    from infra.deploy.steps import Deployment
    from infra.deploy.summary import Summary


def deploy(options: argparse.Namespace) -> int:
    if options.what in ("status", "rollback"):
        if options.cloud is None:
            raise ConfigInvalid(f"Say which cloud: omni deploy {options.what} aws|gcp|azure.", key="cloud")
        there = _deployment(options, options.cloud)
        return status(there, options) if options.what == "status" else _rollback(there, options)
    if options.cloud is not None:
        raise ConfigInvalid(f"omni deploy {options.what} takes no second cloud.", key="cloud")
    if options.plan and options.apply:
        raise ConfigInvalid("Give --plan or --apply, not both.", key="--apply")
    return _forward(_deployment(options, options.what), options)


def _deployment(options: argparse.Namespace, cloud: str) -> Deployment:
    from infra.deploy.steps import Deployment

    root = project_root(options)
    needs_no_project = options.what in ("status", "rollback")  # that loads: they look at what was deployed
    if not (needs_no_project and (root / FILE).is_file()):
        root = load_project(options).root.resolve()
    return Deployment(cloud, root, Path(options.out) if options.out else root / "dist")


def _forward(there: Deployment, options: argparse.Namespace) -> int:
    there.check()
    _say_who_can_ask(there, load_project(options))
    note(f"Building what {there.cloud} gets ...")
    manifest, made = there.prepare()
    if made:
        note(f"{there.folder} was made: this deployment's own Terraform files, yours to edit.")
    return _carry_out(there, manifest, options)


def _say_who_can_ask(there: Deployment, project: Project) -> None:
    """`omni init` makes a project for this machine, where nobody needs a key."""
    who = project.principals.items()
    if not any(one.key or (there.cloud == "azure" and name.startswith("entra:")) for name, one in who):
        note(
            "No principal in omni.yaml has a key, so nobody can ask what is deployed; alerts run all the same. Add "
            'one, such as `ann: {roles: [viewer], key: "secret:ann_key"}`, and set that secret after the apply.'
        )


def _rollback(there: Deployment, options: argparse.Namespace) -> int:
    from infra.deploy.steps import files, read

    manifest = there.previous()
    there.check()
    note(f"Going back to {', '.join(files(read(manifest)))}")
    return _carry_out(there, manifest, options, back=True)


def _carry_out(there: Deployment, manifest: Path, options: argparse.Namespace, *, back: bool = False) -> int:
    try:
        return _planned(there, manifest, options, back)
    finally:
        there.discard()


def _planned(there: Deployment, manifest: Path, options: argparse.Namespace, back: bool) -> int:
    from infra.deploy.canary import follow
    from infra.deploy.wake import wake

    note(f"Terraform plans in {there.folder} ...")
    found = there.plan(manifest, _calls_per_hour(options, manifest))
    if not options.apply:
        _show(found, options)
        return 0
    _harmless(found, options)
    if not wants_json(options):
        _show(found, options)
    if found.empty:
        there.settle(manifest)
        outputs = there.outputs()
    elif there.cloud == "gcp" and there.takes("canary") and not back:
        outputs = _with_canary(there, manifest, options)
    else:
        outputs = there.apply(manifest, back=back)
    awake = None if found.empty else wake(there.cloud, outputs, note, patience_s=options.wait * 60.0)
    followed = follow(there.cloud, outputs, note, at_once=back)  # who goes back does not want to wait
    absent = _absent_secrets(there, manifest, outputs)
    if wants_json(options):
        print_json({
            **found.to_dict(), "outputs": outputs, "canary": followed, "absent_secrets": absent, "awake": awake,
        })  # fmt: skip
    else:
        say("")
        say_outputs(outputs)
    return 0


def _harmless(found: Summary, options: argparse.Namespace) -> Summary:
    """The plan, or ConfigInvalid where it would destroy state, answers or keys and nobody said that it may."""
    if found.endangered and not options.allow_data_loss:
        raise ConfigInvalid(
            f"This would destroy what holds data: {', '.join(found.endangered)}. Look at `--plan`; with "
            "--allow-data-loss it is done.", key="--allow-data-loss", resources=list(found.endangered),
        )  # fmt: skip
    return found


def _with_canary(there: Deployment, manifest: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Apply with a share of the calls for the new revisions, watch them, then give them all calls, or none and say why.

    Returns the outputs. Before the first deployment there is nothing to share calls with, and it is applied as it is.
    """
    from infra.deploy import canary_gcp

    before = canary_gcp.first(there.outputs())
    shared = _harmless(there.plan(manifest, {}, before), options)
    outputs = there.outputs() if shared.empty else there.apply(manifest, settled=False)
    why = None
    if canary_gcp.split(outputs):
        project = str(outputs["settings"]["OMNI_SCHEDULE_GROUP"]).split("/")[1]
        why = canary_gcp.bake(outputs, canary_gcp.Monitoring(project), note, seconds=options.bake * 60.0)
    if before is not None:
        _harmless(there.plan(manifest, {}, canary_gcp.back(outputs) if why else {}), options)
        outputs = there.apply(manifest, settled=not why)
    else:
        there.keep(manifest)
    if why:
        raise SourceError(
            f"The new version was taken back: {why}. All calls go to what served before. Its revision is still there, "
            "to look at.", canary="rolled back",
        )  # fmt: skip
    return outputs


def _absent_secrets(there: Deployment, manifest: Path, outputs: dict[str, Any]) -> list[str]:
    """Secrets that the project refers to and that are not in the cloud, each said with where it was looked for.

    They are made by hand, so that no value is ever in Terraform's state: a deployment without them is not yet done.
    """
    import os

    from core.settings import Settings
    from handlers import clouds
    from infra.deploy.aws_errors import sdk_explained
    from infra.deploy.steps import read

    env = {**os.environ, **{name: str(value) for name, value in (outputs.get("settings") or {}).items()}}
    absent: list[str] = []
    secrets: Any = None
    for name in read(manifest)["secrets"]:
        try:
            if secrets is None:
                settings = Settings.from_env(env)
                secrets = clouds.load(clouds.PLATFORMS[there.cloud])(settings, env, there.root).secrets
            with sdk_explained(there.cloud, "secretsmanager:GetSecretValue"):
                secrets.get(name)
        except Error as error:
            if isinstance(error, ConfigInvalid) and "secret" in error.details:
                absent.append(name)
                note(f"secret {name}: {error.message}")
                continue
            note(f"Whether the secrets are there is not known: {error.code}: {error.message}")
            break
    return absent


def _calls_per_hour(options: argparse.Namespace, manifest: Path) -> dict[str, float | None]:
    """Calls that the alerts' queries make of each source, as their plans say. A source out of reach is left out."""
    from infra.deploy.cost import HOURS, runs_a_month
    from infra.deploy.steps import read

    timers: dict[str, Any] = read(manifest)["timers"]
    try:
        app = open_app(options)
    except ConfigInvalid as error:  # who goes back needs none that loads; who goes forward has loaded it
        note(f"The calls of the sources are not known: {error.message}")
        return {}
    found: dict[str, float | None] = defaultdict(float)
    for name, rule in app.project.alerts.items():
        if name not in timers:
            continue
        often = runs_a_month({name: timers[name]})[0] / HOURS
        try:
            plan = app.explain(rule.as_ask(app.clock(), "deploy"))
        except Error as error:
            note(f"The calls of alert {name} are not known: {error.code}: {error.message}")
            continue
        for scan in plan["scans"]:
            source = str(scan["table"]).partition(".")[0]
            so_far, calls = found[source], scan["calls"]
            found[source] = None if calls is None or so_far is None else so_far + often * calls
    app.close()
    return dict(found)


def _show(found: Summary, options: argparse.Namespace) -> None:
    from infra.deploy.summary import text

    if wants_json(options):
        print_json(found.to_dict())
    else:
        say(text(found))
