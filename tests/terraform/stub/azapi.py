"""What azapi does beyond its schema: it compares a body with what Azure has name by name, and takes for unchanged what
differs in names alone.

From azapi's source (2.13: ``ModifyPlan`` and ``Read`` of azapi_resource, ``UpdateObject``) and its guide to
``ignore_no_op_changes``. Azure is taken to have what was applied last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.runtimes.azure_arm import answered, wrong_workflow
from tests.terraform.stub.planning import has_unknown
from tests.terraform.stub.wire import UNKNOWN

KIND = "azapi_resource"
DEFAULTS = {"ignore_casing": False, "ignore_missing_property": True, "ignore_null_property": False,
            "schema_validation_enabled": True}  # fmt: skip
_WORKFLOWS = "Microsoft.Logic/workflows@"


def planned(proposed: dict[str, Any], prior: Mapping[str, Any] | None) -> dict[str, Any]:
    """``proposed`` with the body of before where Azure has everything that the new one names: a name that went away is
    no change. Where the tags or the identity change, everything is sent. With azapi's defaults for what nobody said."""
    proposed |= {name: one for name, one in DEFAULTS.items() if proposed.get(name) in (None, UNKNOWN)}
    if prior is None or has_unknown(proposed.get("body")):
        return proposed
    same = all(proposed.get(name) == prior.get(name) for name in ("tags", "identity"))
    named, there = plain(proposed.get("body")), plain(prior.get("body"))
    if same and named != there and seen(named, there) == named:
        return {**proposed, "body": prior["body"]}
    return proposed


def read(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state after a refresh: of what Azure answers, the names that the body has."""
    body = plain(state.get("body"))
    if not str(state.get("type")).startswith(_WORKFLOWS) or body is None:
        return dict(state)
    now = seen(body, answered(request(state)), missing_is_there=state.get("ignore_missing_property") is not False)
    return dict(state) if now == body else {**state, "body": [json.dumps(_type(now)).encode(), now]}


def refused(values: Mapping[str, Any]) -> str:
    """The code with which Azure would refuse to make it so, or ''."""
    if not str(values.get("type")).startswith(_WORKFLOWS):
        return ""
    return wrong_workflow(str(values["name"]), request(values))


def request(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent to Azure: the body, and what stands beside it in Terraform."""
    sent = {"location": values.get("location"), "tags": values.get("tags") or {}, **plain(values["body"])}
    for one in values.get("identity") or []:
        sent["identity"] = {"type": one["type"], "userAssignedIdentities": {each: {} for each in one["identity_ids"]}}
    return sent


def plain(body: Any) -> Any:
    """A body without its type, which stands beside it on the wire."""
    typed = isinstance(body, list) and len(body) == 2 and isinstance(body[0], bytes)
    return body[1] if typed else body


def seen(named: Any, there: Any, *, missing_is_there: bool = False) -> Any:
    """What azapi sees of ``there`` by the names in ``named``. What is empty may be missing."""
    if isinstance(named, dict) and isinstance(there, dict):
        return {
            name: value if there.get(name) is None else seen(value, there[name], missing_is_there=missing_is_there)
            for name, value in named.items()
            if there.get(name) is not None or missing_is_there or not value
        }
    if isinstance(named, list) and isinstance(there, list):
        if named and isinstance(named[0], dict) and "name" in named[0]:  # by their names, in our order
            theirs = {one["name"]: one for one in there}
            ours = [one["name"] for one in named if one["name"] in theirs]
            known = [
                seen(one, theirs[one["name"]], missing_is_there=missing_is_there)
                for one in named
                if one["name"] in theirs
            ]
            return known + [one for one in there if one["name"] not in ours]
        if len(named) == len(there):
            return [seen(*pair, missing_is_there=missing_is_there) for pair in zip(named, there, strict=True)]
    return there


def _type(value: Any) -> Any:
    if isinstance(value, dict):
        return ["object", {name: _type(one) for name, one in value.items()}]
    if isinstance(value, list):
        return ["tuple", [_type(one) for one in value]]
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "string"
