"""A project's documents: what is accepted, and how each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import project
from core.errors import ConfigInvalid

OMNI = """\
version: 1
sources:
  shop: {connector: sqlite, url: "sqlite:///shop.db"}
  crm:
    connector: postgres
    url: "${CRM_URL}"
channels:
  oncall: {type: email, to: [oncall@example.com]}
principals:
  ann: {roles: [viewer], teams: [a], key: "secret:ann_key"}
delivery: {attempts: 8, first_retry: 15s, max_retry: 10m}
defaults: {timezone: Europe/Berlin, timeout: 200ms}
"""
POLICY = """\
table: shop.employees
rows:
  - roles: [admin]
  - where: {team: {in: $user.teams}}
columns:
  salary: {mask: null, unless_roles: [hr]}
"""
ALERT = """\
name: daily-revenue
query: |
  SELECT 1
schedule: "0 9 * * 1-5"
timezone: America/New_York
as: {name: revenue-bot, roles: [finance]}
notify: [oncall]
for: 10m
of: 3 of 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "alerts").mkdir()
    (tmp_path / "omni.yaml").write_text(OMNI)
    (tmp_path / "policies" / "people.yaml").write_text(POLICY)
    (tmp_path / "alerts" / "revenue.yaml").write_text(ALERT)
    return tmp_path


def test_values(folder: Path) -> None:
    loaded = project.load(folder, {"CRM_URL": "postgresql://x"})
    rule = loaded.alerts["daily-revenue"]
    assert (rule.pending_for, rule.of, rule.timezone) == (600.0, (3, 5), "America/New_York")
    assert rule.principal.roles == {"finance"}
    assert loaded.defaults.timeout_s == 0.2
    assert loaded.source("crm").options == {"url": "postgresql://x"}
    assert loaded.principals["ann"].principal.teams == ("a",)


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "says"),
    [
        ("omni.yaml", "sources:", "sourcs:", 2, "did you mean 'sources'?"),
        ("omni.yaml", "version: 1", "version: 2", 1, "version"),
        ("omni.yaml", "type: email", "type: fax", 8, "'email', 'webhook' or 'slack'"),
        ("omni.yaml", "teams: [a]", "team: [a]", 10, "did you mean 'teams'?"),
        ("omni.yaml", "15s", "15", 11, "is no duration"),
        ("omni.yaml", "Europe/Berlin", "Berlin", 12, "IANA name"),
        ("omni.yaml", "{connector: sqlite,", "{", 3, "'connector' is missing"),
        ("omni.yaml", "  shop:", "  crm:", 4, "is there twice"),
        ("omni.yaml", "  shop:", "  my-shop:", 2, "is no source name"),
        ("policies/people.yaml", "where:", "were:", 4, "did you mean 'where'?"),
        ("policies/people.yaml", "in:", "within:", 4, "unknown operator 'within'"),
        ("policies/people.yaml", "mask: null", "mask: nothing", 6, "'null', 'hash'"),
        ("policies/people.yaml", "- roles: [admin]", "- {}", 3, "would let everybody in"),
        ("policies/people.yaml", "shop.employees", "employees", 1, "source.table"),
        ("alerts/revenue.yaml", "notify:", "notifi:", 7, "did you mean 'notify'?"),
        ("alerts/revenue.yaml", "0 9 * * 1-5", "0 25 * * *", 4, "is no cron expression"),
        ("alerts/revenue.yaml", "[oncall]", "[oncal]", 1, "did you mean 'oncall'?"),
        ("alerts/revenue.yaml", "3 of 5", "6 of 5", 9, "M <= N"),
        ("alerts/revenue.yaml", "{name: revenue-bot, roles: [finance]}", "bob", 1, "no principal 'bob'"),
        ("alerts/revenue.yaml", "for: 10m", "escalate: {after: 1h}", 8, "not supported in this version"),
        ("alerts/revenue.yaml", "name: daily-revenue", "name: [daily", 2, "not valid YAML"),
        ("alerts/revenue.yaml", "query: |\n  SELECT 1\n", "", 1, "'query' is missing"),
    ],
)
def test_mistake_is_told_with_its_place(folder: Path, file: str, old: str, new: str, line: int, says: str) -> None:
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigInvalid) as caught:
        project.load(folder, {})
    assert caught.value.message.startswith(f"{file}:{line}:"), caught.value.message
    assert says in caught.value.message
    assert caught.value.details["file"] == file
    assert caught.value.details["line"] == line


def test_two_alerts_of_one_name(folder: Path) -> None:
    (folder / "alerts" / "twin.yaml").write_text(ALERT)
    with pytest.raises(ConfigInvalid, match=r"is taken by alerts/revenue.yaml:1"):
        project.load(folder, {})


def test_not_utf8_and_no_project(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "alerts" / "revenue.yaml").write_bytes(b"name: x\nquery: \xff\n")
    with pytest.raises(ConfigInvalid, match=r"alerts/revenue.yaml:2: not UTF-8"):
        project.load(folder, {})
    with pytest.raises(ConfigInvalid, match="omni init"):
        project.load(tmp_path_factory.mktemp("empty"), {})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("to: [oncall@example.com]", "too: [oncall@example.com]", "did you mean 'to'?"),
        (
            "{type: email, to: [oncall@example.com]}",
            "{type: webhook, url: x, sign_wiht: y}",
            "did you mean 'sign_with'?",
        ),
        ("{type: email, to: [oncall@example.com]}", "{type: webhook}", "'url' is missing"),
        ("to: [oncall@example.com]", "to: []", "to"),
    ],
)
def test_options_of_a_channel_are_checked(folder: Path, old: str, new: str, says: str) -> None:
    """A mistyped sign_with would send unsigned webhooks."""
    path = folder / "omni.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigInvalid, match=r"omni.yaml:8: ") as caught:
        project.load(folder, {})
    assert says in caught.value.message


def test_what_comes_later_is_refused_and_not_ignored(folder: Path) -> None:
    (folder / "omni.yaml").write_text(OMNI + "store: postgres\n")
    with pytest.raises(ConfigInvalid, match="not supported in this version"):
        project.load(folder, {})


def test_aliases_do_not_unfold_without_end(folder: Path) -> None:
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 9))
    (folder / "alerts" / "bomb.yaml").write_text(f"l0: &l0 [x]\n{levels}\n")
    with pytest.raises(ConfigInvalid, match="unfolds to more than"):
        project.load(folder, {})


def test_unset_variable_harms_only_who_uses_it(folder: Path) -> None:
    loaded = project.load(folder, {})
    assert loaded.source("shop").connector == "sqlite"
    with pytest.raises(ConfigInvalid) as caught:
        loaded.source("crm")
    assert caught.value.details == {"file": "omni.yaml", "line": 4, "key": "sources.crm.url", "variable": "CRM_URL"}


def test_kept_validation_equals_a_fresh_one_and_holds_no_value(folder: Path) -> None:
    cache = folder / ".omni" / "cache"
    env = {"CRM_URL": "postgresql://user:hunter2@x/db"}
    first = project.load(folder, env, cache=cache)
    kept = list(cache.glob("project-*.json"))
    assert len(kept) == 1
    assert "hunter2" not in kept[0].read_text()
    second = project.load(folder, env, cache=cache)
    assert (second.alerts, second.document) == (first.alerts, first.document)


def test_kept_validation_is_not_used_for_changed_documents_or_when_damaged(folder: Path) -> None:
    cache = folder / ".omni" / "cache"
    project.load(folder, {}, cache=cache)
    (folder / "alerts" / "revenue.yaml").write_text(ALERT.replace("10m", "20m"))
    assert project.load(folder, {}, cache=cache).alerts["daily-revenue"].pending_for == 1200.0
    for kept in cache.glob("project-*.json"):
        kept.write_text(kept.read_text()[:100])
    assert project.load(folder, {}, cache=cache).alerts["daily-revenue"].pending_for == 1200.0


SENTINEL = """\
database:
  url: "sqlite:///sample.db"

alerts:
  - name: "Daily Revenue Check"
    description: "Too little"
    query: |
      SELECT CASE WHEN SUM(revenue) < 10000 THEN 'ALERT' ELSE 'OK' END as status, SUM(revenue) as actual_value
      FROM orders WHERE day = date('now', '-1 day')
    schedule: "0 9 * * *"
    owner: somebody
    notify:
      - channel: email
        recipients: ["team@company.com"]
        subject: "Alert: {alert_name}"
      - channel: slack
        webhook_url: "https://hooks.slack.com/services/T/B/x"
      - channel: webhook
        url: "https://example.com/hook"
        method: put
        headers: {X-Key: abc}
  - name: "Off"
    query: "SELECT 'OK' AS status"
    schedule: "@daily"
    enabled: false
"""


def test_sqlsentinel_file_loads_unchanged(folder: Path) -> None:
    (folder / "alerts" / "sentinel.yaml").write_text(SENTINEL)
    loaded = project.load(folder, {})
    rule = loaded.alerts["Daily Revenue Check"]
    assert (rule.dialect, rule.private_source, rule.recovered) == ("sqlite", "_sentinel", False)
    assert [loaded.channel(c).type for c in rule.channels] == ["email", "slack", "webhook"]
    assert loaded.channel(rule.channels[2]).options["method"] == "PUT"
    assert loaded.alerts["Off"].enabled is False
    assert any("owner" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("channel: email", "channel: pager", "channel"),
        ('recipients: ["team@company.com"]', "recipients: []", "recipients"),
        ("https://hooks.slack.com/", "https://example.com/", "hooks.slack.com"),
        ("0 9 * * *", "whenever", "cron"),
        ("sqlite:///", "oracle://", "oracle"),
    ],
)
def test_sqlsentinel_mistakes(folder: Path, old: str, new: str, says: str) -> None:
    (folder / "alerts" / "sentinel.yaml").write_text(SENTINEL.replace(old, new, 1))
    with pytest.raises(ConfigInvalid, match=says) as caught:
        project.load(folder, {})
    assert caught.value.message.startswith("alerts/sentinel.yaml:")
