"""A job as it is kept and as its owner sees it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from core.errors import ConfigInvalid, Internal, ResourceLimit

ATTEMPTS = 3
MAX_BYTES = 300_000


def status(body: Mapping[str, Any]) -> dict[str, Any]:
    """What its owner sees of a job: JSON-ready, instants as ISO 8601 in UTC."""
    out: dict[str, Any] = {"job_id": body["id"], "state": body["state"], "attempts": body["attempts"]}
    for key in ("submitted_at", "started_at", "finished_at", "expires_at"):
        if body.get(key):
            moment = datetime.fromtimestamp(body[key], UTC)
            out[key] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    out |= {key: body[key] for key in ("row_count", "bytes", "error") if key in body}
    return out


def without_answer(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("row_count", "bytes", "error")}


def queued(error: Mapping[str, Any], now: float) -> dict[str, Any]:
    return {"state": "QUEUED", "lease_until": 0.0, "last_error": error, "sent_at": now}


def held_elsewhere(job: str) -> dict[str, Any]:
    return {"job": job, "state": "RUNNING", "skipped": "another worker holds it"}


def worn_out() -> dict[str, Any]:
    return Internal(f"The worker ended {ATTEMPTS} times before it was done.").to_dict("")


def partition(job: str) -> str:
    return f"job/{job}"


def named(message: object) -> str:
    """The job's id. Only what we could have sent is taken: an id is hex and nothing else."""
    found = message.get("job") if isinstance(message, Mapping) else None
    if not isinstance(found, str) or len(found) != 32 or not set(found) <= set("0123456789abcdef"):
        raise ConfigInvalid('A message of the queue has to be {"job": ID}.', key="job")
    return found


def check_size(body: Mapping[str, Any]) -> None:
    import orjson

    if (size := len(orjson.dumps(body))) > MAX_BYTES:
        raise ResourceLimit(
            f"The question has {size} bytes with its parameters; a job may have {MAX_BYTES}.", limit_bytes=MAX_BYTES
        )
