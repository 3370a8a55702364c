"""After an apply: how calls come to the new version. What a cloud's module does by itself needs nothing here.

On AWS CodeDeploy moves the alias of each function: a few percent of the calls at first, the rest later, and all back
where an alarm rings. Terraform makes the alias and leaves it alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from core.errors import SourceAuth, SourceError


def follow(
    cloud: str, outputs: Mapping[str, Any], note: Callable[[str], None], *, at_once: bool = False
) -> dict[str, Any] | None:
    """Begin to move calls to what was just applied, or with ``at_once`` move them now. None where nothing is to do.

    Returns ``{"functions": {name: {"from", "to", "deployment"?}}}``. Raises SourceAuth and SourceError.
    """
    told = outputs.get("canary")
    if cloud != "aws" or not told:
        return None
    with _explained("codedeploy:CreateDeployment, lambda:GetAlias"):
        return _Aws(told).follow(note, at_once)


def progress(cloud: str, outputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where each function's calls go now: ``{name: {"live", "newest", "weights", "deployment", "status", "why"?}}``."""
    told = outputs.get("canary")
    if cloud != "aws" or not told:
        return None
    with _explained("codedeploy:GetDeployment, codedeploy:ListDeployments, lambda:GetAlias"):
        return _Aws(told).progress()


class _Aws:
    """``told``: the module's output ``canary``."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        import botocore.session

        self._application = str(told["application"])
        self._functions: Mapping[str, Mapping[str, str]] = told["functions"]
        session, endpoint = botocore.session.get_session(), os.environ.get("OMNI_ENDPOINT_URL") or None
        region = str(told["region"])
        self._lambda = session.create_client("lambda", region_name=region, endpoint_url=endpoint)
        self._codedeploy = session.create_client("codedeploy", region_name=region, endpoint_url=endpoint)

    def follow(self, note: Callable[[str], None], at_once: bool) -> dict[str, Any] | None:
        moved: dict[str, Any] = {}
        for name, one in self._functions.items():
            alias = self._alias(one)
            live, newest = alias["FunctionVersion"], one["version"]
            running = self._running(one)
            if live == newest and not running:
                continue
            if running:
                note(f"{name}: stopping deployment {running}, which another apply began")
                self._codedeploy.stop_deployment(deploymentId=running, autoRollbackEnabled=False)
            if at_once:
                self._lambda.update_alias(
                    FunctionName=one["function"], Name=one["alias"], FunctionVersion=newest,
                    RoutingConfig={"AdditionalVersionWeights": {}},
                )  # fmt: skip
                note(f"{name}: all calls go to version {newest} now")
                moved[name] = {"from": live, "to": newest}
            elif live != newest:
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
            weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
            found[name] = {"live": alias["FunctionVersion"], "newest": one["version"], "weights": weights}
            listed = self._deployments(one)
            if listed:
                last = self._codedeploy.get_deployment(deploymentId=listed[0])["deploymentInfo"]
                found[name] |= {"deployment": listed[0], "status": last["status"]}
                why = last.get("errorInformation") or last.get("rollbackInfo") or {}
                text = why.get("message") or why.get("rollbackMessage")
                found[name] |= {"why": text} if text else {}
        return found

    def _alias(self, one: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = self._lambda.get_alias(FunctionName=one["function"], Name=one["alias"])
        return found

    def _deployments(self, one: Mapping[str, str], **more: Any) -> list[str]:
        """Newest first."""
        found: list[str] = self._codedeploy.list_deployments(
            applicationName=self._application, deploymentGroupName=one["group"], **more
        )["deployments"]
        return found

    def _running(self, one: Mapping[str, str]) -> str | None:
        states = ["Created", "Queued", "InProgress", "Baking", "Ready"]
        found = self._deployments(one, includeOnlyStatuses=states)
        return found[0] if found else None


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


@contextmanager
def _explained(permission: str) -> Iterator[None]:
    """botocore's errors as ours, naming the permission that this step needs."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if "Denied" in code or "NotAuthorized" in code:
            raise SourceAuth(
                f"AWS refuses to move the calls ({code}): your identity needs {permission}.", permission=permission
            ) from error
        raise SourceError(
            f"The calls could not be moved to the new version ({code}). What is live stays so; say it again with "
            "`omni deploy aws --apply`.", aws_code=code,
        ) from error  # fmt: skip
    except BotoCoreError as error:
        raise SourceError(f"AWS cannot be reached to move the calls ({type(error).__name__}).") from error
