"""From azure-core's exceptions to ours, in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestTimeoutError,
    ServiceResponseTimeoutError,
)

from core.errors import Error, RateLimitExhausted, SourceAuth, SourceError, SourceTimeout

_DENIED = frozenset({
    "AuthorizationFailure", "AuthorizationPermissionMismatch", "AuthenticationFailed", "InsufficientAccountPermissions",
    "InvalidAuthenticationInfo", "AuthorizationFailed", "LinkedAuthorizationFailed", "AccountIsDisabled",
    "KeyBasedAuthenticationNotPermitted", "PublicAccessNotPermitted", "Forbidden", "Unauthorized",
    "NoAuthenticationInformation",
})  # fmt: skip
_THROTTLED = frozenset({"ServerBusy", "TooManyRequests", "SubscriptionRequestsThrottled", "Throttled"})
_LATE = frozenset({"OperationTimedOut", "GatewayTimeout", "RequestTimeout"})

Meaning = Callable[[int, str], Error | None]


def nothing_particular(_status: int, _code: str) -> Error | None:
    """A ``meaning`` for calls whose refusals mean what they mean everywhere."""
    return None


@contextmanager
def mapped(service: str, what: str, permission: str, meaning: Meaning = nothing_particular) -> Iterator[None]:
    """Around one call to ``service`` about ``what``. ``meaning``: what a status and code mean in particular here.

    Raises SourceAuth naming the ``permission``, RateLimitExhausted, SourceTimeout or SourceError. Azure's own message
    is not passed on (it may quote values); its code is.
    """
    try:
        yield
    except ClientAuthenticationError as error:  # also: no credential could be had at all
        code = code_of(error)
        raise meaning(error.status_code or 401, code) or _unknown(service, what, permission, code) from error
    except HttpResponseError as error:
        status, code = error.status_code or 0, code_of(error)
        raise meaning(status, code) or _refused(status, code, service, what, permission, error) from error
    except (ServiceRequestTimeoutError, ServiceResponseTimeoutError) as error:
        raise SourceTimeout(f"{service} did not answer in time about the {what}.", service=service) from error
    except AzureError as error:
        raise SourceError(
            f"{service} cannot be reached for the {what} ({type(error).__name__}): check the network and the URL in "
            "the settings.",
            service=service,
        ) from error


def code_of(error: HttpResponseError) -> str:
    """The service's code, the innermost that there is: ``EntityAlreadyExists``, ``SecretDisabled``; or ''."""
    told = getattr(error, "error", None)
    found = getattr(error, "error_code", None) or getattr(told, "code", None) or ""
    inner = getattr(told, "innererror", None) or getattr(told, "inner_error", None)  # OData, and Key Vault's own model
    found = (inner.get("code") if isinstance(inner, dict) else getattr(inner, "code", None)) or found
    return str(getattr(found, "value", found) or _written(error)).partition("\n")[0][:80]


def _written(error: HttpResponseError) -> str:
    """The code in the response itself, which the SDK does not take out of every one: a header, or the tables' JSON."""
    response: Any = error.response
    if response is None:
        return ""
    header = str(response.headers.get("x-ms-error-code", ""))
    try:
        return header or str(json.loads(response.text())["odata.error"]["code"])
    except (AzureError, ValueError, KeyError, TypeError):  # no such body, or one that was not read
        return ""


def _unknown(service: str, what: str, permission: str, code: str) -> SourceAuth:
    return SourceAuth(
        f"No identity that {service} takes for the {what}{f' ({code})' if code else ''}: give the function an identity "
        f"(AZURE_CLIENT_ID names a user-assigned one) that has {permission}, or sign in with `az login`.",
        service=service, permission=permission, azure_code=code or None,
    )  # fmt: skip


def _refused(
    status: int, code: str, service: str, what: str, permission: str, error: HttpResponseError
) -> Error:  # fmt: skip
    if status in (401, 403) or code in _DENIED:
        return SourceAuth(
            f"{service} refused this function the {what} ({code or status}): its identity needs {permission}"
            + (", and the service's firewall has to let it in." if "Firewall" in code or "Network" in code else "."),
            service=service, permission=permission, azure_code=code or None,
        )  # fmt: skip
    if status == 429 or code in _THROTTLED:
        return RateLimitExhausted(
            f"{service} throttles the {what} ({code or status}). Try again, or spread the load.",
            retry_after_ms=_retry_after_ms(error), service=service, scope="azure", azure_code=code or None,
        )  # fmt: skip
    if status in (408, 504) or code in _LATE:
        return SourceTimeout(f"{service} did not answer in time about the {what} ({code or status}).", service=service)
    return SourceError(
        f"{service} failed on the {what} ({code or status or 'no code'}).", service=service, azure_code=code or None
    )


def _retry_after_ms(error: HttpResponseError) -> int:
    response: Any = error.response
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return int(text) * 1_000 if text.isdecimal() and len(text) < 6 else 1_000
