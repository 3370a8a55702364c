"""What a plan would do, for a person: from Terraform's JSON plan and the manifests of now and before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.alert.timers import SWEEP
from infra.deploy.cost import Line, monthly, runs_a_month, total

KEEPS_DATA = frozenset({
    "aws_cloudwatch_log_group", "aws_dynamodb_table", "aws_kms_key", "aws_s3_bucket", "aws_secretsmanager_secret",
    "aws_sqs_queue",
    "google_artifact_registry_repository", "google_firestore_database", "google_kms_crypto_key",
    "google_logging_project_bucket_config", "google_pubsub_subscription", "google_secret_manager_secret",
    "google_storage_bucket",
    "azurerm_key_vault", "azurerm_key_vault_key", "azurerm_key_vault_secret", "azurerm_log_analytics_workspace",
    "azurerm_storage_account", "azurerm_storage_container", "azurerm_storage_queue", "azurerm_storage_table",
})  # fmt: skip
"""What holds state, answers, secrets, keys, logs, messages that wait, or the images to go back to: taken away only when
that is said. Secrets are in it for a root module that makes its own."""
_VERBS = {("create",): "create", ("update",): "change", ("delete",): "destroy", ("read",): "read", ("no-op",): ""}


@dataclass(frozen=True, slots=True)
class Summary:
    """``counts``: verb -> number. ``resources``: (verb, address). ``endangered``: addresses that hold data and would
    be destroyed. ``timers``: (verb, alert). ``runs`` and ``sweeps`` a month; ``calls_per_hour`` by source, None where
    a source needs as many as it has pages."""

    counts: Mapping[str, int]
    resources: Sequence[tuple[str, str]]
    endangered: Sequence[str]
    code: str
    project: str
    timers: Sequence[tuple[str, str]]
    runs: int
    sweeps: int
    costs: Sequence[Line]
    calls_per_hour: Mapping[str, float | None]

    @property
    def empty(self) -> bool:
        return not self.resources

    def to_dict(self) -> dict[str, Any]:
        return {
            "counts": dict(self.counts),
            "resources": [{"action": verb, "address": address} for verb, address in self.resources],
            "endangered": list(self.endangered),
            "code": self.code,
            "project": self.project,
            "timers": [{"action": verb, "alert": name} for verb, name in self.timers],
            "runs_per_month": self.runs,
            "sweeps_per_month": self.sweeps,
            "dollars_per_month": round(total(self.costs), 2),
            "costs": [{"what": one.what, "quantity": one.quantity, "unit": one.unit, "dollars": round(one.dollars, 4)}
                      for one in self.costs],
            "calls_per_hour": dict(self.calls_per_hour),
        }  # fmt: skip


def summary(
    plan: Mapping[str, Any],
    manifest: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    calls_per_hour: Mapping[str, float | None],
) -> Summary:
    """``before``: the manifest that was deployed last, if any."""
    resources = [
        (verb, str(change["address"])) for change in plan.get("resource_changes", ()) if (verb := _verb(change))
    ]
    endangered = [
        str(change["address"])
        for change in plan.get("resource_changes", ())
        if change.get("type") in KEEPS_DATA and "delete" in change["change"]["actions"]
    ]
    runs, sweeps = runs_a_month(manifest["timers"])
    costs = monthly(
        manifest["cloud"], alerts=len(manifest["timers"]) - 1, runs=runs, sweeps=sweeps,
        secrets=len(manifest["secrets"]),
    )  # fmt: skip
    return Summary(
        counts=Counter(verb for verb, _ in resources),
        resources=sorted(resources, key=lambda found: found[1]),
        endangered=endangered,
        code=_moved(manifest, before, "code"),
        project=_moved(manifest, before, "project"),
        timers=_timers(manifest["timers"], (before or {}).get("timers", {})),
        runs=runs,
        sweeps=sweeps,
        costs=costs,
        calls_per_hour=calls_per_hour,
    )


def text(found: Summary) -> str:
    """Some twenty lines for the terminal."""
    lines = [f"code     {found.code}", f"project  {found.project}"]
    timers = () if found.empty else found.timers  # made already, by a run that ended before it was noted
    lines += [f"{verb:8} timer of {name}" for verb, name in timers[:30]]
    if len(timers) > 30:
        lines.append(f"         and {len(timers) - 30} more timers")
    if found.empty:
        lines.append("Nothing in the cloud would change.")
    else:
        counted = ", ".join(f"{number} to {verb}" for verb, number in sorted(found.counts.items()))
        lines += ["", f"{len(found.resources)} resources: {counted}"]
        lines += [f"  {verb:8} {address}" for verb, address in found.resources if verb != "create"]
        if not any(verb != "create" for verb, _ in found.resources):
            kinds = Counter(address.rpartition(".")[0].rpartition(".")[2] for _, address in found.resources)
            lines.append("  " + ", ".join(f"{kind} {number}" for kind, number in kinds.most_common(8)))
    if found.endangered:
        lines += ["", "DATA WOULD BE LOST: " + ", ".join(found.endangered)]
    lines += ["", f"{found.runs:,} runs of alerts and {found.sweeps:,} sweeps a month, about "
                  f"${total(found.costs):,.2f} by list price:"]  # fmt: skip
    for cost in sorted(found.costs, key=lambda one: -one.dollars)[:5]:
        lines.append(f"  ${cost.dollars:>8,.2f}  {cost.what} ({cost.quantity:,.2f} {cost.unit})")
    for source, calls in sorted(found.calls_per_hour.items()):
        lines.append(f"source {source}: {_calls(calls)} an hour")
    return "\n".join(lines)


def _calls(number: float | None) -> str:
    if number is None:
        return "as many calls as it has pages"
    return "under 0.1 calls" if 0 < number < 0.1 else f"{number:,.1f} calls"


def _verb(change: Mapping[str, Any]) -> str:
    actions = tuple(change["change"]["actions"])
    if change.get("mode") == "data":
        return ""
    return _VERBS.get(actions, "replace")


def _moved(now: Mapping[str, Any], before: Mapping[str, Any] | None, part: str) -> str:
    name = str(now[part]["file"])
    if before is None:
        return f"{name} (first deployment)"
    was = str(before[part]["file"])
    return f"{name} (unchanged)" if was == name else f"{was} -> {name}"


def _timers(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in sorted(set(now) | set(before)):
        if name not in before:
            found.append(("create", name))
        elif name not in now:
            found.append(("destroy", name))
        elif now[name] != before[name]:
            found.append(("change", name))
    return [(verb, name) for verb, name in found if name != SWEEP]
