"""An apply while another one's canary runs, against a CodeDeploy and a Lambda that take their time: no emulator has
StopDeployment."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError
from infra.deploy.aws_errors import explained
from infra.deploy.canary import follow, progress

FUNCTIONS = {"ask": {"alias": "live", "function": "omni-ask", "group": "ask", "version": "3"}}
OUTPUTS = {"canary": {"application": "omni", "region": "eu-central-1", "functions": FUNCTIONS}}


class Cloud(ThreadingHTTPServer):
    """One function's alias, and deployments in no order. ``ends_after``: polls until one that is stopped is."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.alias: dict[str, Any] = {
            "FunctionVersion": "1",
            "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.05}},
        }
        self.deployments: dict[str, dict[str, Any]] = {}
        self.ends_after, self.log = 2, list[str]()
        self._polls: dict[str, int] = {}

    def deployment(self, name: str, status: str, at: float, **more: Any) -> None:
        self.deployments[name] = {"deploymentId": name, "status": status, "createTime": at, **more}

    def call(self, target: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.log.append(target)
        if target == "ListDeployments":
            wanted = asked.get("includeOnlyStatuses")
            found = [k for k, one in self.deployments.items() if wanted is None or one["status"] in wanted]
            for name in [k for k in found if k in self._polls]:
                self._polls[name] -= 1
                if self._polls[name] <= 0:
                    self.deployments[name]["status"] = "Stopped"
            return 200, {"deployments": found}
        if target == "BatchGetDeployments":
            assert 1 <= len(asked["deploymentIds"]) <= 25
            return 200, {"deploymentsInfo": [self.deployments[one] for one in asked["deploymentIds"]]}
        if target == "StopDeployment":
            name = asked["deploymentId"]
            if self.deployments[name]["status"] not in ("InProgress", "Created"):
                return 400, {"__type": "DeploymentAlreadyCompletedException", "message": "It is done."}
            self._polls[name] = self.ends_after
            return 200, {"status": "Pending"}
        assert target == "CreateDeployment", target
        running = [k for k, one in self.deployments.items() if one["status"] == "InProgress"]
        if running:
            return 400, {"__type": "DeploymentLimitExceededException", "message": f"{running} still runs."}
        if self.alias["RoutingConfig"]["AdditionalVersionWeights"]:
            return 400, {"__type": "InvalidRevisionException", "message": "The alias shares its calls already."}
        self.deployment("d-NEW", "Created", 99.0)
        return 200, {"deploymentId": "d-NEW"}


class _Handler(BaseHTTPRequestHandler):
    server: Cloud

    def do_POST(self) -> None:
        target = self.headers["X-Amz-Target"].rpartition(".")[2]
        self._answer(*self.server.call(target, json.loads(self._body() or b"{}")))

    def do_GET(self) -> None:
        assert self.path.endswith("/functions/omni-ask/aliases/live"), self.path
        self._answer(200, self.server.alias)

    def do_PUT(self) -> None:
        self.server.log.append("UpdateAlias")
        self.server.alias |= json.loads(self._body())
        self._answer(200, self.server.alias)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    server = Cloud()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("OMNI_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    yield server
    server.shutdown()
    server.server_close()


def go(said: list[str], slept: list[float] | None = None, *, at_once: bool = False) -> dict[str, Any] | None:
    waits: list[float] = [] if slept is None else slept
    return follow("aws", OUTPUTS, said.append, at_once=at_once, sleep=waits.append)


def test_a_canary_that_runs_is_over_before_the_next_begins(cloud: Cloud) -> None:
    cloud.deployment("d-OLD", "InProgress", 10.0)
    said: list[str] = []
    slept: list[float] = []
    moved = go(said, slept)
    assert moved == {"functions": {"ask": {"from": "1", "to": "3", "deployment": "d-NEW"}}}
    assert cloud.deployments["d-OLD"]["status"] == "Stopped"
    assert slept, "to stop is only begun by the call"
    assert cloud.alias == {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {}}}
    assert cloud.log[-1] == "CreateDeployment" and "UpdateAlias" in cloud.log
    assert "stopping deployment d-OLD" in said[0]


def test_shares_that_a_stopped_deployment_left_are_taken_away(cloud: Cloud) -> None:
    cloud.deployment("d-OLD", "Stopped", 10.0)
    assert go([]) is not None
    cloud.alias = {"FunctionVersion": "3", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.05}}}
    cloud.deployments.clear()
    assert go([]) is None
    assert cloud.alias["RoutingConfig"] == {"AdditionalVersionWeights": {}}


def test_one_that_goes_back_by_itself_is_waited_for(cloud: Cloud) -> None:
    cloud.deployment("d-BACK", "InProgress", 20.0, creator="codeDeployRollback")
    cloud._polls["d-BACK"] = 3
    said: list[str] = []
    assert go(said) is not None
    assert "StopDeployment" not in cloud.log
    assert "waiting for deployment d-BACK" in said[0]


def test_one_that_does_not_end_is_told(cloud: Cloud) -> None:
    cloud.deployment("d-OLD", "InProgress", 10.0)
    cloud.ends_after = 10_000
    slept: list[float] = []
    with pytest.raises(SourceError, match="d-OLD of ask does not end"):
        go([], slept)
    assert sum(slept) == 300
    assert "CreateDeployment" not in cloud.log


def test_one_that_ended_meanwhile_is_no_failure(cloud: Cloud) -> None:
    cloud.deployment("d-OLD", "Ready", 10.0)
    cloud._polls["d-OLD"] = 2
    assert go([]) is not None


def test_who_goes_back_stops_the_canary_and_moves_all_calls(cloud: Cloud) -> None:
    cloud.deployment("d-OLD", "InProgress", 10.0)
    assert go([], at_once=True) == {"functions": {"ask": {"from": "1", "to": "3"}}}
    assert cloud.alias == {"FunctionVersion": "3", "RoutingConfig": {"AdditionalVersionWeights": {}}}


def test_the_newest_is_the_one_that_was_made_last_and_not_the_first_of_the_list(cloud: Cloud) -> None:
    cloud.deployment("d-1", "Failed", 10.0)
    cloud.deployment("d-3", "Succeeded", 30.0)
    for number in range(40):  # more than one call may ask for
        cloud.deployment(f"d-old{number}", "Stopped", 1.0)
    cloud.deployment("d-2", "Stopped", 20.0)
    where = progress("aws", OUTPUTS)
    assert where is not None
    assert (where["ask"]["deployment"], where["ask"]["status"]) == ("d-3", "Succeeded")
    assert where["ask"]["weights"] == {"2": 0.05}


# ── what keeps the calls from being moved ────────────────────────────────────────────────────────────────────────

WRONG: list[tuple[dict[str, str | None], type[Error], str]] = [
    ({"AWS_PROFILE": "nope"}, ConfigInvalid, "AWS_PROFILE names a profile that is not in .*: nope"),
    ({"OMNI_ENDPOINT_URL": "notaurl"}, ConfigInvalid, "OMNI_ENDPOINT_URL is no URL"),
    ({"OMNI_ENDPOINT_URL": "http://127.0.0.1:9"}, SourceError, "AWS cannot be reached .*OMNI_ENDPOINT_URL"),
    ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, SourceAuth, r"no AWS credentials here.*AWS_PROFILE"),
]


@pytest.mark.parametrize(("changed", "kind", "says"), WRONG)
def test_what_is_wrong_here_is_told_with_what_was_done_and_what_to_do(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: dict[str, str], kind: type[Error], says: str
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name, value in changed.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    done = r".* The apply is done.*still go to the version that served before.*say `omni deploy aws --apply` again"
    with pytest.raises(kind, match=says + done) as told:
        go([])
    assert type(told.value) is kind
    with pytest.raises(kind, match=f"^[^.]*{says}") as told:
        progress("aws", OUTPUTS)
    assert "The apply" not in told.value.message, "who only looks has applied nothing"


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("UnrecognizedClientException", SourceAuth, "does not take the credentials .Unrecog.*AWS_PROFILE"),
        ("ExpiredTokenException", SourceAuth, "does not take the credentials"),
        ("AccessDeniedException", SourceAuth, "your identity needs codedeploy:BatchGetDeployments"),
        ("ThrottlingException", SourceError, "AWS answers ThrottlingException"),
    ],
)
def test_what_aws_answers_is_told_by_what_it_means(code: str, kind: type[Error], says: str) -> None:
    with pytest.raises(kind, match=says), explained("codedeploy:BatchGetDeployments"):
        raise ClientError({"Error": {"Code": code, "Message": "x"}}, "ListDeployments")
    with pytest.raises(ValueError, match="ours"), explained("x"):
        raise ValueError("a defect of ours")


def test_a_region_that_there_is_not_is_told() -> None:
    outputs = {"canary": OUTPUTS["canary"] | {"region": "bad region"}}
    with pytest.raises(ConfigInvalid, match="region"):
        progress("aws", outputs)


def test_who_went_back_is_told_how_to_move_the_calls_by_hand(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going back again would go further back, and forward to what one wants to leave."""
    monkeypatch.setenv("AWS_PROFILE", "nope")
    with pytest.raises(ConfigInvalid, match=r"update-alias --region eu-central-1 --function-name omni-ask --name live "
                                            r"--function-version 3 --routing-config") as told:  # fmt: skip
        go([], at_once=True)
    assert "omni deploy" not in told.value.message
