"""Apps are asked after an apply until they answer."""

from __future__ import annotations

import urllib.error
import urllib.request
from email.message import Message
from typing import Any

import pytest

from infra.deploy import wake as module
from infra.deploy.wake import PATIENCE_S, wake

APPS = {"apps": {"canary": "https://omni-c.azurewebsites.net", "stable": "https://omni.azurewebsites.net/"}}


class World:
    """Answers by URL, one after the other, and a clock that only sleeping moves."""

    def __init__(self, answers: dict[str, list[int]]) -> None:
        self.answers, self.asked, self.now = answers, list[str](), 0.0

    def ask(self, url: str) -> int:
        self.asked.append(url)
        left = self.answers[url]
        return left.pop(0) if len(left) > 1 else left[0]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wake(self, outputs: dict[str, Any]) -> tuple[dict[str, int] | None, list[str]]:
        said: list[str] = []
        found = wake("azure", outputs, said.append, ask=self.ask, sleep=self.sleep, clock=lambda: self.now)
        return found, said


def test_each_app_is_asked_until_it_answers_and_no_longer() -> None:
    canary, stable = "https://omni-c.azurewebsites.net/healthz", "https://omni.azurewebsites.net/healthz"
    world = World({canary: [0, 503, 200], stable: [200]})
    found, said = world.wake(APPS)
    assert found == {"canary": 200, "stable": 200}
    assert world.asked == [canary, stable, canary, canary], "who is awake is not asked again"
    assert said == ["canary: awake", "stable: awake"]


def test_one_that_does_not_wake_is_said_and_fails_nothing() -> None:
    world = World({"https://omni.azurewebsites.net/healthz": [500]})
    found, (said,) = world.wake({"ask_url": "https://omni.azurewebsites.net"})
    assert found == {"stable": 500}
    assert PATIENCE_S <= world.now < PATIENCE_S + 60
    assert "answers 500 after 5 minutes" in said and "`key`" in said


@pytest.mark.parametrize(("cloud", "outputs"), [("aws", APPS), ("gcp", APPS), ("azure", {})])
def test_where_nothing_sleeps_nobody_is_asked(cloud: str, outputs: dict[str, Any]) -> None:
    assert wake(cloud, outputs, pytest.fail, ask=lambda _url: pytest.fail("asked")) is None


def test_an_answer_is_its_status_and_silence_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(url: str, timeout: float) -> Any:
        if "down" in url:
            raise urllib.error.URLError("no route")
        raise urllib.error.HTTPError(url, 403, "", Message(), None)

    monkeypatch.setattr(urllib.request, "urlopen", refused)
    assert module._status("https://up.example/healthz") == 403
    assert module._status("https://down.example/healthz") == 0
    assert module._status("file:///etc/passwd") == 0, "an output is no address of this machine's files"
