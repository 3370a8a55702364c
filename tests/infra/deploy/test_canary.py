"""How calls come to a new version on AWS, against moto's CodeDeploy and Lambda."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from core.errors import SourceError
from infra.deploy.canary import follow, progress
from tests.runtimes.ministack import Moto, client, shared

ROLE_POLICY = {
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]
}


class Account:
    """Functions ask and watch with versions 1 and 2, their alias on 1, and a deployment group each."""

    def __init__(self, url: str, name: str) -> None:
        self.functions, self.codedeploy = client("lambda", url), client("codedeploy", url)
        role = client("iam", url).create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(ROLE_POLICY))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("a.py", "def handler(event, context): return 1\n")
        self.codedeploy.create_application(applicationName=name, computePlatform="Lambda")
        told: dict[str, Any] = {}
        for one in ("ask", "watch"):
            function = f"{name}-{one}"
            self.functions.create_function(
                FunctionName=function, Runtime="python3.13", Role=role["Role"]["Arn"], Handler="a.handler",
                Code={"ZipFile": packed.getvalue()}, Publish=True,
            )  # fmt: skip
            with zipfile.ZipFile(packed, "a") as archive:
                archive.writestr(f"{one}.py", "")
            self.functions.create_alias(FunctionName=function, Name="live", FunctionVersion="1")
            self.functions.update_function_code(FunctionName=function, ZipFile=packed.getvalue(), Publish=True)
            self.codedeploy.create_deployment_group(
                applicationName=name, deploymentGroupName=one, serviceRoleArn=role["Role"]["Arn"]
            )
            told[one] = {"alias": "live", "function": function, "group": one, "version": "2"}
        self.outputs = {"canary": {"application": name, "region": "us-east-1", "functions": told}}

    def live(self, one: str) -> str:
        found = self.functions.get_alias(FunctionName=self.outputs["canary"]["functions"][one]["function"], Name="live")
        return str(found["FunctionVersion"])


@pytest.fixture
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Account:
    url = shared(Moto).url
    for name, value in (("OMNI_ENDPOINT_URL", url), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)
    return Account(url, "c" + request.node.name[-20:].strip("_"))


def test_a_new_version_is_given_to_codedeploy_and_the_alias_left_to_it(account: Account) -> None:
    said: list[str] = []
    moved = follow("aws", account.outputs, said.append)
    assert moved is not None and set(moved["functions"]) == {"ask", "watch"}
    one = moved["functions"]["ask"]
    assert (one["from"], one["to"]) == ("1", "2")
    told = account.codedeploy.get_deployment(deploymentId=one["deployment"])["deploymentInfo"]
    spec = json.loads(told["revision"]["appSpecContent"]["content"])
    properties = spec["Resources"][0]["function"]["Properties"]
    assert (properties["CurrentVersion"], properties["TargetVersion"], properties["Alias"]) == ("1", "2", "live")
    assert account.live("ask") == "1"
    assert len(said) == 2 and "version 2 takes its first calls" in said[0]
    where = progress("aws", account.outputs)
    assert where is not None
    assert (where["ask"]["live"], where["ask"]["newest"], where["ask"]["deployment"]) == ("1", "2", one["deployment"])


def test_who_goes_back_moves_all_calls_at_once(account: Account) -> None:
    moved = follow("aws", account.outputs, lambda _text: None, at_once=True)
    assert moved == {"functions": {name: {"from": "1", "to": "2"} for name in ("ask", "watch")}}
    assert account.live("ask") == account.live("watch") == "2"
    assert follow("aws", account.outputs, lambda _text: None) is None, "nothing is left to move"


def test_what_cannot_be_moved_is_said_and_how_to_say_it_again(account: Account) -> None:
    account.outputs["canary"]["application"] = "gone"
    with pytest.raises(SourceError, match=r"ApplicationDoesNotExist.*omni deploy aws --apply"):
        follow("aws", account.outputs, lambda _text: None)


@pytest.mark.parametrize(
    ("cloud", "outputs"), [("aws", {}), ("aws", {"canary": None}), ("azure", {"canary": {"x": 1}}), ("gcp", {})]
)
def test_without_a_canary_there_is_nothing_to_do(cloud: str, outputs: dict[str, Any]) -> None:
    assert follow(cloud, outputs, lambda _text: None) is None
    assert progress(cloud, outputs) is None
