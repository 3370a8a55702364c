"""From botocore's exceptions to ours, in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    ConnectTimeoutError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from core.errors import Error, RateLimitExhausted, SourceAuth, SourceError, SourceTimeout

_DENIED = frozenset({
    "AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "InvalidSignatureException",
    "ExpiredTokenException", "ExpiredToken", "InvalidClientTokenId", "DecryptionFailure", "MissingAuthenticationToken",
    "NotAuthorized", "OptInRequired", "403", "Forbidden", "AllAccessDisabled", "InvalidAccessKeyId", "InvalidSecurity",
    "SignatureDoesNotMatch", "UnauthorizedOperation", "InvalidToken", "KMS.AccessDeniedException",
})  # fmt: skip
_THROTTLED = frozenset({
    "ProvisionedThroughputExceededException", "ThrottlingException", "Throttling", "RequestLimitExceeded",
    "TooManyRequestsException", "LimitExceededException", "SlowDown", "RequestThrottled", "ThrottledException",
    "KmsThrottled", "KMS.ThrottlingException", "503",
})  # fmt: skip
_LATE = frozenset({"RequestTimeout", "RequestTimeoutException", "504"})


Meaning = Callable[[str, str], Error | None]


@contextmanager
def mapped(service: str, what: str, permission: str, meaning: Meaning) -> Iterator[None]:
    """Around one call to ``service`` about ``what``. ``meaning``: what a code and message mean in particular here.

    Raises SourceAuth naming the ``permission``, RateLimitExhausted, SourceTimeout or SourceError. Amazon's own message
    is not passed on (it may quote values); its code is.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        message = str(error.response.get("Error", {}).get("Message", ""))
        raise meaning(code, message) or _refused(code, service, what, permission) from error
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise SourceTimeout(f"{service} did not answer in time about the {what}.", service=service) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise SourceAuth(
            f"No AWS credentials for {service}: give the function a role that allows {permission}.",
            service=service, permission=permission,
        ) from error  # fmt: skip
    except (ConnectionError, BotoCoreError) as error:
        raise SourceError(
            f"{service} cannot be reached for the {what} ({type(error).__name__}): check the network and OMNI_REGION.",
            service=service,
        ) from error


def _refused(code: str, service: str, what: str, permission: str) -> Error:
    if code in _DENIED:
        return SourceAuth(
            f"{service} refused this function the {what} ({code}): its role needs {permission}.",
            service=service, permission=permission, aws_code=code,
        )  # fmt: skip
    if code in _THROTTLED:
        return RateLimitExhausted(
            f"{service} throttles the {what} ({code}). Try again, or raise its capacity.",
            retry_after_ms=1_000, service=service, scope="aws", aws_code=code,
        )  # fmt: skip
    if code in _LATE:
        return SourceTimeout(f"{service} did not answer in time about the {what} ({code}).", service=service)
    return SourceError(f"{service} failed on the {what} ({code or 'no code'}).", service=service, aws_code=code)
