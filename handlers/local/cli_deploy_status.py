"""`omni deploy status`: all that can be known from here, and why the rest cannot."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from core.errors import Error
from handlers.local.cli_common import load_project, print_json, print_rows, say, wants_json

if TYPE_CHECKING:
    from infra.deploy.steps import Deployment

Told = dict[str, Any]


def status(there: Deployment, options: argparse.Namespace) -> int:
    """What was deployed from here, what Terraform knows, and whether the project has changed since.

    A project that does not load and a cloud out of reach leave gaps, and are told as such: what is known here is what
    somebody in trouble looks for.
    """
    found = _found(there, options)
    if wants_json(options):
        print_json(found)
    elif found["deployed"] is None:
        _say_none(there, found)
    else:
        _say_all(found)
    return 0


def _found(there: Deployment, options: argparse.Namespace) -> Told:
    from infra.deploy.canary import progress

    kept = there.history()
    outputs, resources = there.outputs(), len(there.resources())
    found: Told = {"cloud": there.cloud, "project": None, "canary": None}
    try:
        found["project"] = load_project(options).digest
    except Error as error:
        found["project_error"] = _as_json(error)
    try:
        found["canary"] = progress(there.cloud, outputs)
    except Error as error:
        found["canary_error"] = _as_json(error)
    deployed = kept[-1][1]["project"]["digest"] if kept else None
    return found | {
        "deployed": deployed, "in_step": deployed is not None and deployed == found["project"],
        "resources": resources, "unfinished": deployed is None and resources > 0, "outputs": outputs,
        "history": [{"at": at, "code": m["code"]["file"], "project": m["project"]["digest"]} for at, m in kept],
    }  # fmt: skip


def _as_json(error: Error) -> Told:
    return {"code": error.code, "message": error.message, "details": dict(error.details)}


def _say_none(there: Deployment, found: Told) -> None:
    if not found["unfinished"]:
        say(f"Nothing was deployed to {there.cloud} from here.")
        return
    number = found["resources"]
    say(
        f"An apply to {there.cloud} did not finish: {number} resource{'s are' if number > 1 else ' is'} in the state. "
        f"Say `omni deploy {there.cloud} --apply` again; it goes on from there."
    )


def _say_all(found: Told) -> None:
    say(f"deployed  {found['deployed']}")
    if "project_error" in found:
        say(f"project   does not load: {found['project_error']['message']}")
    else:
        say(f"project   {found['project']}{' (the same)' if found['in_step'] else ' (has changed since: omni deploy)'}")
    if not found["resources"]:
        say("The state has no resources: what was deployed was destroyed since.")
    kept = found["history"][-10:]
    print_rows(["at", "code", "project"], [[one["at"], one["code"], one["project"][:12]] for one in kept])
    if "canary_error" in found:
        say(f"Where the calls go is not known: {found['canary_error']['message']}")
    for name, one in (found["canary"] or {}).items():
        shares = "".join(f", {share:.0%} to version {version}" for version, share in one["weights"].items())
        state = f" ({one['status']}{': ' + one['why'] if one.get('why') else ''})" if one.get("status") else ""
        say(f"{name}: calls go to version {one['live']}{shares}; newest {one['newest']}{state}")
    if found["cloud"] == "gcp" and any(one["weights"] for one in (found["canary"] or {}).values()):
        say("No deployment holds this split but an apply that still runs: `omni deploy gcp --apply` goes on with it.")
    say_outputs({name: value for name, value in found["outputs"].items() if name != "canary"})


def say_outputs(outputs: Told) -> None:
    for name, value in outputs.items():
        say(f"{name} = {value if isinstance(value, str) else json.dumps(value)}")
