"""After an apply: how calls come to the new version. What a cloud's module does by itself needs nothing here.

On AWS CodeDeploy moves the alias of each function: a few percent of the calls at first, the rest later, and all back
where an alarm rings. Terraform makes the alias and leaves it alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from core.errors import SourceError
from infra.deploy import canary_gcp
from infra.deploy.aws_errors import explained

_RUNNING = ("Created", "Queued", "InProgress", "Baking", "Ready")
_POLL_S, _STOPS_WITHIN_S = 5.0, 300.0
_LOOKS = "codedeploy:BatchGetDeployments, codedeploy:ListDeployments, lambda:GetAlias"
_MOVES = f"{_LOOKS}, codedeploy:CreateDeployment, codedeploy:StopDeployment, lambda:UpdateAlias"
_RECENT = timedelta(days=30)
_AT_A_TIME = 25
"""BatchGetDeployments takes no more."""


def follow(
    cloud: str,
    outputs: Mapping[str, Any],
    note: Callable[[str], None],
    *,
    at_once: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any] | None:
    """Begin to move calls to what was just applied, or with ``at_once`` move them now. None where nothing is to do.

    Returns ``{"functions": {name: {"from", "to", "deployment"?}}}``. Raises SourceAuth and SourceError.
    """
    told = outputs.get("canary")
    if cloud != "aws" or not told:
        return None
    with explained(_MOVES, _left(told, at_once)):
        return _Aws(told, sleep).follow(note, at_once)


def _left(told: Mapping[str, Any], at_once: bool) -> str:
    """What is said after the reason why the calls could not be moved: where they go now, and what to do."""
    if all(str(one.get("version")) == "1" for one in told["functions"].values()):
        return " The apply is done, and there is nothing to move: these are the first versions, which have the calls."
    done = (
        " The apply is done, but the calls were not moved: those of functions that are not named above still go to the "
        "version that served before. "
    )
    if not at_once:
        return f"{done}Mend this and say `omni deploy aws --apply` again, which moves them."
    # Going back once more would go further back, and forward is the version that somebody wants to leave.
    commands = "; ".join(
        f"aws lambda update-alias --region {told['region']} --function-name {one['function']} --name {one['alias']} "
        f"--function-version {one['version']} --routing-config AdditionalVersionWeights={{}}"
        for one in told["functions"].values()
    )
    return f"{done}Mend this and move them with `{commands}`."


def progress(cloud: str, outputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where each function's calls go now: ``{name: {"live", "newest", "weights", "deployment", "status", "why"?}}``."""
    if cloud == "gcp":
        return canary_gcp.progress(outputs)
    told = outputs.get("canary")
    if cloud != "aws" or not told:
        return None
    with explained(_LOOKS):
        return _Aws(told).progress()


class _Aws:
    """``told``: the module's output ``canary``."""

    def __init__(self, told: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep) -> None:
        import botocore.session

        self._application, self._sleep = str(told["application"]), sleep
        self._functions: Mapping[str, Mapping[str, str]] = told["functions"]
        session, endpoint = botocore.session.get_session(), os.environ.get("OMNI_ENDPOINT_URL") or None
        region = str(told["region"])
        self._lambda = session.create_client("lambda", region_name=region, endpoint_url=endpoint)
        self._codedeploy = session.create_client("codedeploy", region_name=region, endpoint_url=endpoint)

    def follow(self, note: Callable[[str], None], at_once: bool) -> dict[str, Any] | None:
        moved: dict[str, Any] = {}
        for name, one in self._functions.items():
            self._stop(name, one, note)
            alias = self._alias(one)
            live, newest = alias["FunctionVersion"], one["version"]
            if at_once and (live != newest or _weights(alias)):
                self._point(one, newest)
                note(f"{name}: all calls go to version {newest} now")
                moved[name] = {"from": live, "to": newest}
                continue
            if _weights(alias):  # what a deployment that was stopped has left; CodeDeploy begins with none
                self._point(one, live)
            if live != newest:
                started = self._codedeploy.create_deployment(
                    applicationName=self._application, deploymentGroupName=one["group"],
                    revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": _appspec(one, live)}},
                )["deploymentId"]  # fmt: skip
                note(f"{name}: version {newest} takes its first calls (deployment {started}); an alarm takes them back")
                moved[name] = {"from": live, "to": newest, "deployment": started}
        return {"functions": moved} if moved else None

    def progress(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, one in self._functions.items():
            alias = self._alias(one)
            found[name] = {"live": alias["FunctionVersion"], "newest": one["version"], "weights": _weights(alias)}
            recent = {"createTimeRange": {"start": datetime.now(UTC) - _RECENT}}
            last = self._newest(one, **recent) or self._newest(one)
            if last is not None:
                found[name] |= {"deployment": last["deploymentId"], "status": last["status"]}
                why = last.get("errorInformation") or last.get("rollbackInfo") or {}
                text = why.get("message") or why.get("rollbackMessage")
                found[name] |= {"why": text} if text else {}
        return found

    def _stop(self, name: str, one: Mapping[str, str], note: Callable[[str], None]) -> None:
        """End what another apply began, and wait until it has: stopping is only begun by the call.

        A deployment that goes back by itself is waited for. Raises SourceError where one does not end.
        """
        told: set[str] = set()
        waited = 0.0
        while running := self._newest(one, includeOnlyStatuses=list(_RUNNING)):
            identifier = str(running["deploymentId"])
            if identifier not in told:
                told.add(identifier)
                if running.get("creator") == "codeDeployRollback":
                    note(f"{name}: waiting for deployment {identifier}, which goes back")
                else:
                    note(f"{name}: stopping deployment {identifier}, which another apply began")
                    self._ask_to_stop(identifier)
            elif waited >= _STOPS_WITHIN_S:
                raise SourceError(
                    f"Deployment {identifier} of {name} does not end. Look at it in CodeDeploy, then say it again with "
                    "`omni deploy aws --apply`.", deployment=identifier,
                )  # fmt: skip
            else:
                self._sleep(_POLL_S)
                waited += _POLL_S

    def _ask_to_stop(self, identifier: str) -> None:
        """A deployment that has ended meanwhile is as good."""
        try:
            self._codedeploy.stop_deployment(deploymentId=identifier, autoRollbackEnabled=False)
        except self._codedeploy.exceptions.DeploymentAlreadyCompletedException:
            return

    def _point(self, one: Mapping[str, str], version: str) -> None:
        """Give all calls to ``version``."""
        self._lambda.update_alias(
            FunctionName=one["function"], Name=one["alias"], FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": {}},
        )  # fmt: skip

    def _alias(self, one: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = self._lambda.get_alias(FunctionName=one["function"], Name=one["alias"])
        return found

    def _newest(self, one: Mapping[str, str], **more: Any) -> dict[str, Any] | None:
        """The deployment that was made last: ListDeployments says nothing of its order."""
        pages = self._codedeploy.get_paginator("list_deployments").paginate(
            applicationName=self._application, deploymentGroupName=one["group"], **more
        )
        listed = [identifier for page in pages for identifier in page["deployments"]]
        found: list[dict[str, Any]] = []
        for start in range(0, len(listed), _AT_A_TIME):
            some = listed[start : start + _AT_A_TIME]
            found += self._codedeploy.batch_get_deployments(deploymentIds=some)["deploymentsInfo"]
        return max(found, key=lambda info: info["createTime"], default=None)


def _weights(alias: Mapping[str, Any]) -> dict[str, float]:
    return dict((alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})


def _appspec(one: Mapping[str, str], live: str) -> str:
    properties = {
        "Name": one["function"],
        "Alias": one["alias"],
        "CurrentVersion": live,
        "TargetVersion": one["version"],
    }
    return json.dumps({
        "version": 0.0, "Resources": [{"function": {"Type": "AWS::Lambda::Function", "Properties": properties}}],
    })  # fmt: skip
