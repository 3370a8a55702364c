"""Key Vault: how names become its names, which secrets are there, and whose keys open what."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from core.errors import ConfigInvalid, Error, RateLimitExhausted, SourceAuth, SourceError
from core.ports import Platform
from core.settings import Settings
from handlers.azure.clients import Identity, vault_name
from handlers.azure.platform import platform
from handlers.azure.secrets import VaultSecrets
from tests.runtimes.azure_cloud import AzureCloud
from tests.runtimes.azure_vault import Secret
from tests.runtimes.process import free_port

NAMES = ["ann_key", "ann-key", "ann.key", "ANN_KEY", "Ann_key", "ann__key", "ann_", "_ann", "x--ann", "x-2d", "x", "a1",
         "ann key", "ünï", "annkey"]  # fmt: skip


def test_no_two_names_meet_in_key_vault_where_case_says_nothing() -> None:
    made = [vault_name(n) for n in NAMES]
    assert len({m.lower() for m in made}) == len(NAMES)
    assert all(re.fullmatch(r"[0-9a-z-]+", m) for m in made)
    assert vault_name("ann_key") == "ann-key"
    assert vault_name("Ann") == "x---41nn"


def secrets(cloud: AzureCloud, prefix: str = "t-", **more: Any) -> VaultSecrets:
    return VaultSecrets(Identity(cloud.environment()), f"{cloud.vault_url}/secrets/{prefix}", **more)


def test_a_secret_is_kept_for_a_minute_and_read_again_when_told(cloud: AzureCloud) -> None:
    cloud.vault.secrets["t-key"] = Secret("old")
    now = [0.0]
    port = secrets(cloud, monotonic=lambda: now[0])
    assert port.get("key") == "old"
    cloud.vault.secrets["t-key"] = Secret("new")
    now[0] = 59.0
    assert port.get("key") == "old"
    now[0] = 60.0
    assert port.get("key") == "new"
    cloud.vault.secrets["t-key"] = Secret("newest")
    port.forget("key")
    assert port.get("key") == "newest"


def test_absent_disabled_expired_early_and_empty_are_told_apart(cloud: AzureCloud) -> None:
    now = int(time.time())
    cases = {
        "has no secret": None, "has a disabled secret": Secret("v", enabled=False),
        "has an expired secret": Secret("v", exp=now - 5), "has a not yet valid secret": Secret("v", nbf=now + 60),
        "has an empty secret": Secret(""),
    }  # fmt: skip
    for text, found in cases.items():
        cloud.vault.secrets.pop("t-key", None)
        if found is not None:
            cloud.vault.secrets["t-key"] = found
        with pytest.raises(ConfigInvalid, match=f"{text} 't-key' for secret:key") as caught:
            secrets(cloud).get("key")
        assert "OMNI_SECRET_PREFIX" in caught.value.message
    cloud.vault.secrets["t-key"] = Secret("v", exp=now + 60, nbf=now - 60)
    assert secrets(cloud).get("key") == "v"


def test_a_prefix_may_be_empty(cloud: AzureCloud) -> None:
    cloud.vault.secrets["bare"] = Secret("v")
    assert secrets(cloud, "").get("bare") == "v"


@pytest.mark.parametrize(("refusal", "kind", "text"), [
    ((403, "Forbidden", "ForbiddenByRbac"), SourceAuth, r"secrets/getSecret/action \(the role Key Vault Secrets User"),
    ((403, "Forbidden", "ForbiddenByFirewall"), SourceAuth, "firewall has to let it in"),
    ((403, "Forbidden", ""), SourceAuth, "Key Vault Secrets User"),
    ((429, "Throttled", ""), RateLimitExhausted, "throttles"),
    ((500, "InternalServerError", ""), SourceError, "InternalServerError"),
])  # fmt: skip
def test_a_refusal_names_the_permission_and_not_azures_words(
    cloud: AzureCloud, refusal: tuple[int, str, str], kind: type[Error], text: str
) -> None:
    cloud.vault.refuse = refusal
    with pytest.raises(kind, match=text) as caught:
        secrets(cloud).get("key")
    assert "AZURES-OWN-WORDS" not in str(caught.value.to_dict("r"))


@pytest.mark.parametrize("prefix", ["omnisentinel/", "https://v.vault.azure.net/keys/a", "http://v.vault.azure.net/secrets/a",
                                    "https://v.vault.azure.net"])  # fmt: skip
def test_a_prefix_of_another_shape_names_the_setting(prefix: str) -> None:
    with pytest.raises(ConfigInvalid, match="OMNI_SECRET_PREFIX"):
        VaultSecrets(Identity({}), prefix).get("key")


def test_a_name_that_is_too_long_is_refused_before_any_call(cloud: AzureCloud) -> None:
    with pytest.raises(ConfigInvalid, match="127"):
        secrets(cloud).get("k" * 126)


# ── who we are ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_tokens_are_for_the_services_and_of_the_given_identity(cloud: AzureCloud, ports: Platform) -> None:
    cloud.audiences.clear()
    ports.store.get("p", "k")
    cloud.vault.secrets["x"] = Secret("v")
    VaultSecrets(Identity(cloud.environment()), f"{cloud.vault_url}/secrets/").get("x")
    assert ports.scheduler is not None
    ports.scheduler.list()
    asked = {a.rstrip("/") for a in cloud.audiences}
    assert asked == {"https://storage.azure.com", "https://vault.azure.net", "https://management.azure.com"}


def test_an_identity_that_gets_no_token_is_told_with_what_it_needs(cloud: AzureCloud, settings: dict[str, str]) -> None:
    cloud.denied |= {"https://storage.azure.com", "https://vault.azure.net"}
    made = platform(Settings.from_env(settings), settings)
    with pytest.raises(SourceAuth, match="tables/entities/read"):
        made.store.get("p", "k")
    with pytest.raises(SourceAuth, match="Key Vault Secrets User"):
        made.secrets.get("key")


def test_on_a_laptop_without_a_login_the_way_out_is_told(
    cloud: AzureCloud, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IDENTITY_ENDPOINT", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name)
        del settings[name]
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceAuth, match="az login"):
        platform(Settings.from_env(settings), settings).store.get("p", "k")


def test_the_vault_out_of_reach_can_be_retried(cloud: AzureCloud) -> None:
    with pytest.raises(SourceError) as caught:
        VaultSecrets(Identity(cloud.environment()), f"https://127.0.0.1:{free_port()}/secrets/a-").get("key")
    assert caught.value.retryable


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def keyed(cloud: AzureCloud, settings: dict[str, str]) -> Any:
    cloud.vault.keys.pop("tenants", None)
    cloud.vault.rotate("tenants")
    return platform(Settings.from_env(settings), settings).keys


def test_what_was_wrapped_before_a_rotation_opens_after_it(cloud: AzureCloud, keyed: Any) -> None:
    old = keyed.wrap("acme", b"k" * 32, {"a": "b"})
    cloud.vault.rotate("tenants")
    new = keyed.wrap("acme", b"k" * 32, {"a": "b"})
    assert old[2:34] != new[2:34], "the newest version wraps"
    assert keyed.unwrap("acme", old, {"a": "b"}) == keyed.unwrap("acme", new, {"a": "b"}) == b"k" * 32


def test_one_key_for_all_tenants_still_keeps_them_apart(keyed: Any) -> None:
    wrapped = keyed.wrap("acme", b"k" * 32, {})
    with pytest.raises(SourceAuth, match="another tenant"):
        keyed.unwrap("other", wrapped, {})


def test_every_byte_counts(keyed: Any) -> None:
    wrapped = keyed.wrap("acme", b"k" * 32, {"a": "b"})
    for at in [*range(0, 40, 5), *range(40, len(wrapped), 29)]:
        altered = bytearray(wrapped)
        altered[at] ^= 1
        with pytest.raises(SourceAuth):
            keyed.unwrap("acme", bytes(altered), {"a": "b"})


def test_a_key_that_is_not_there_names_the_setting(cloud: AzureCloud, keyed: Any) -> None:
    cloud.vault.keys.pop("tenants")
    with pytest.raises(ConfigInvalid, match="OMNI_KEY"):
        keyed.wrap("acme", b"k" * 32, {})
    for url in ("", "omnisentinel", "https://v.vault.azure.net/secrets/a"):
        made = platform(Settings(key=url), cloud.environment()).keys
        assert made is not None
        with pytest.raises(ConfigInvalid, match="OMNI_KEY"):
            made.wrap("acme", b"k" * 32, {})


def test_a_disabled_key_and_a_missing_permission_are_told_apart(cloud: AzureCloud, keyed: Any) -> None:
    wrapped = keyed.wrap("acme", b"k" * 32, {})
    cloud.vault.disabled.add("tenants")
    with pytest.raises(SourceAuth, match="is disabled"):
        keyed.unwrap("acme", wrapped, {})
    cloud.vault.refuse = (403, "Forbidden", "ForbiddenByRbac")
    with pytest.raises(SourceAuth, match="keys/unwrap/action"):
        keyed.unwrap("acme", wrapped, {})
