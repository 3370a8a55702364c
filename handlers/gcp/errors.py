"""From the exceptions of Google's client libraries to ours, in one place.

``google.api_core`` costs a cold start 60 ms and is imported by the first call, not by importing this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from core.errors import Error, RateLimitExhausted, SourceAuth, SourceError, SourceTimeout

ATTEMPT_S = 6.0
"""One attempt of a call."""
PATIENCE_S = 12.0
"""A call with its retries."""

Meaning = Callable[[str], Error | None]


def nothing(_code: str) -> Error | None:
    """The Meaning of a call of which no code says something in particular."""
    return None


@contextmanager
def mapped(service: str, what: str, permission: str, meaning: Meaning = nothing) -> Iterator[None]:
    """Around one call to ``service`` about ``what``. ``meaning``: what a code such as ``NOT_FOUND`` says here.

    Raises SourceAuth naming the ``permission``, RateLimitExhausted, SourceTimeout or SourceError. Google's own message
    is not passed on (it may quote values); its code is.
    """
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    try:
        yield
    except api.GoogleAPICallError as error:
        code = code_of(error)
        raise meaning(code) or _refused(code, _reason(error), service, what, permission) from error
    except (api.RetryError, requests.Timeout, TimeoutError) as error:
        raise _late(service, what) from error
    except (auth.DefaultCredentialsError, auth.RefreshError) as error:
        raise SourceAuth(
            f"No Google Cloud credentials for {service} ({type(error).__name__}): give the function a service account "
            f"that has {permission}.", service=service, permission=permission,
        ) from error  # fmt: skip
    except (api.GoogleAPIError, auth.GoogleAuthError, requests.RequestException, ConnectionError) as error:
        raise SourceError(
            f"{service} cannot be reached for the {what} ({type(error).__name__}): check the network.", service=service
        ) from error
    except Exception as error:
        # Cloud Storage's own (a body that is not what its checksum says, an answer that is none) derive from nothing.
        if not type(error).__module__.startswith(("google.cloud.storage.", "google.resumable_media.")):
            raise
        raise SourceError(
            f"{service} gave the {what} broken ({type(error).__name__}). Try again.", service=service
        ) from error


def code_of(error: Any) -> str:
    """gRPC's name of a failed call (``NOT_FOUND``), also for one over HTTP; '' where there is none."""
    found = getattr(error, "grpc_status_code", None)
    if found is not None:
        return str(found.name)
    return _HTTP.get(int(getattr(error, "code", 0) or 0), "")


def patient() -> Any:
    """What is tried again by a call that may be: a service that is away for a moment, or throttles. The idea is
    google.api_core's own; its total of ten minutes is not."""
    from google.api_core import retry

    return retry.Retry(initial=0.1, maximum=1.0, multiplier=2.0, timeout=PATIENCE_S)


def _refused(code: str, reason: str, service: str, what: str, permission: str) -> Error:
    told: dict[str, Any] = {"service": service, "google_code": code}
    if reason == "SERVICE_DISABLED":
        return SourceAuth(f"The API of {service} is not enabled in this project: enable it.", **told, reason=reason)
    if code in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return SourceAuth(
            f"{service} refused this function the {what} ({code}): its service account needs {permission}.",
            permission=permission, **told,
        )  # fmt: skip
    if code == "RESOURCE_EXHAUSTED":
        return RateLimitExhausted(
            f"{service} throttles the {what} ({code}). Try again, or raise the project's quota.",
            retry_after_ms=1_000, scope="gcp", service=service, google_code=code,
        )  # fmt: skip
    if code in ("DEADLINE_EXCEEDED", "CANCELLED"):
        return _late(service, what)
    if code == "UNAVAILABLE":
        return SourceError(f"{service} cannot be reached for the {what} ({code}): check the network.", **told)
    return SourceError(f"{service} failed on the {what} ({code or 'no code'}).", **told)


def _late(service: str, what: str) -> SourceTimeout:
    return SourceTimeout(f"{service} did not answer in time about the {what}.", service=service)


def _reason(error: Any) -> str:
    return str(getattr(error, "reason", None) or "")


_HTTP = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    408: "DEADLINE_EXCEEDED", 412: "FAILED_PRECONDITION", 413: "OUT_OF_RANGE", 429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
