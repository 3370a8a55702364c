"""Secrets Manager, and what happens when AWS cannot be reached."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from core.errors import ConfigInvalid, SourceAuth, SourceError
from core.settings import Settings
from handlers.aws.clients import Clients
from handlers.aws.platform import platform
from handlers.aws.secrets import AwsSecrets
from infra.layer import ROOT
from tests.runtimes.ministack import client
from tests.runtimes.process import free_port


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def prefix() -> str:
    return f"{uuid.uuid4().hex[:8]}/"


def settings(endpoint: str) -> Settings:
    return Settings(endpoint_url=endpoint, region="us-east-1")


def of(endpoint: str) -> Callable[[], Any]:
    return partial(Clients(settings(endpoint), {}).get, "secretsmanager")


def test_a_secret_is_kept_for_a_minute_and_read_again_when_told(endpoint: str, prefix: str) -> None:
    manager: Any = client("secretsmanager", endpoint)
    manager.create_secret(Name=prefix + "key", SecretString="old")
    now = [0.0]
    secrets = AwsSecrets(of(endpoint), prefix, lambda: now[0])
    assert secrets.get("key") == "old"
    manager.put_secret_value(SecretId=prefix + "key", SecretString="new")
    now[0] = 59.0
    assert secrets.get("key") == "old"
    now[0] = 60.0
    assert secrets.get("key") == "new"
    manager.put_secret_value(SecretId=prefix + "key", SecretString="newest")
    secrets.forget("key")
    assert secrets.get("key") == "newest"


def test_a_binary_secret_is_its_text(endpoint: str, prefix: str) -> None:
    client("secretsmanager", endpoint).create_secret(Name=prefix + "b", SecretBinary=b"bytes")
    assert platform(settings(endpoint), {}).secrets is not None
    assert AwsSecrets(of(endpoint), prefix).get("b") == "bytes"


def test_a_missing_secret_says_which_and_where(endpoint: str, prefix: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"{prefix}nope"):
        AwsSecrets(of(endpoint), prefix).get("nope")


def test_aws_out_of_reach_is_an_error_that_can_be_retried() -> None:
    ports = platform(settings(f"http://127.0.0.1:{free_port()}"), {})
    for act in (lambda: ports.secrets.get("x"), lambda: ports.store.get("p", "k")):
        with pytest.raises(SourceError) as caught:
            act()
        assert caught.value.retryable


def test_no_credentials_names_what_the_role_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    ports = platform(settings(f"http://127.0.0.1:{free_port()}"), {})
    with pytest.raises(SourceAuth, match="secretsmanager:GetSecretValue"):
        ports.secrets.get("x")


def test_no_region_names_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigInvalid, match="OMNI_REGION"):
        platform(Settings(), {}).store.get("p", "k")


def test_owners_differ_and_never_say_that_another_is_gone() -> None:
    one, two = platform(Settings(), {}).owner, platform(Settings(), {}).owner
    assert one.name() != two.name()
    assert not one.gone(two.name())


LEAN = """
import sys
from core.settings import Settings
from handlers.aws.platform import platform
ports = platform(Settings(region="eu-central-1"), {})
assert ports.objects and ports.queue and ports.scheduler and ports.keys
print(*sorted(name for name in sys.modules if name.startswith("handlers.aws.")))
"""


def test_what_watch_does_not_need_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", LEAN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        f"handlers.aws.{one}" for one in ("clients", "errors", "payload", "platform", "secrets", "store")
    ]


def test_ports_that_come_later_work_as_the_others(endpoint: str) -> None:
    bucket = f"b-{uuid.uuid4().hex[:8]}"
    client("s3", endpoint).create_bucket(Bucket=bucket)
    made = platform(Settings(endpoint_url=endpoint, region="us-east-1", objects=bucket), {})
    assert made.objects is not None
    made.objects.put("a", b"1")
    assert made.objects.get("a") == b"1"
    assert made.queue is not None
    with pytest.raises(ConfigInvalid, match="OMNI_QUEUE"):
        made.queue.send({})
    assert made.keys is not None
    with pytest.raises(ConfigInvalid, match="OMNI_KEY"):
        made.keys.wrap("acme", b"0" * 16, {})
    assert made.scheduler is not None
    with pytest.raises(ConfigInvalid, match="OMNI_SCHEDULE_GROUP"):
        made.scheduler.list()


def test_an_answer_counts_as_lambda_counts_it() -> None:
    """As a text in JSON: what fits by its own length may not fit then."""
    import json

    from core.settings import Settings
    from handlers.aws.platform import platform

    here = platform(Settings(), {})
    quotes = b'"' * 3_000_000
    assert here.answer_bytes == 6_000_000
    assert here.answer_size(quotes) == len(json.dumps(quotes.decode())) > here.answer_bytes
    assert here.answer_size(b"x" * 3_000_000) <= here.answer_bytes
