"""botocore's errors as ours, for who deploys: a person with a profile, not a function with a role."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError

_NOT_ALLOWED = ("Denied", "NotAuthorized", "UnauthorizedOperation")
_NOT_KNOWN = (
    "UnrecognizedClient", "InvalidClientTokenId", "InvalidSignature", "SignatureDoesNotMatch", "ExpiredToken",
    "InvalidToken", "MissingAuthenticationToken", "InvalidAccessKeyId",
)  # fmt: skip
_SIGN_IN = "Sign in (`aws sso login`), or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."


@contextmanager
def explained(permission: str, then: str = "") -> Iterator[None]:
    """``permission``: what the identity needs for this. ``then``: is said after the reason; begins with a blank."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refused(str(error.response.get("Error", {}).get("Code", "")), permission, then) from error
    except BotoCoreError as error:
        raise _unmade(error, then) from error
    except ValueError as error:
        if "endpoint" not in str(error):
            raise
        raise ConfigInvalid(
            f"OMNI_ENDPOINT_URL is no URL such as http://127.0.0.1:4566.{then}", key="OMNI_ENDPOINT_URL"
        ) from error


def sdk_explained(cloud: str, permission: str) -> AbstractContextManager[None]:
    """Around the first use of a port of ``cloud``: a profile, a region or an endpoint that is none is told by AWS's SDK
    when its first client is made, which is before the port itself can explain anything."""
    return explained(permission) if cloud == "aws" else nullcontext()


def _refused(code: str, permission: str, then: str) -> Error:
    if any(word in code for word in _NOT_ALLOWED):
        return SourceAuth(f"AWS refuses it ({code}): your identity needs {permission}.{then}", permission=permission)
    if any(word in code for word in _NOT_KNOWN):
        return SourceAuth(f"AWS does not take the credentials ({code}). {_SIGN_IN}{then}", aws_code=code)
    return SourceError(f"AWS answers {code or 'an error without a code'}.{then}", aws_code=code)


def _unmade(error: Exception, then: str) -> Error:
    """No answer came: the credentials, the region, or the network."""
    from botocore import exceptions

    if isinstance(error, exceptions.ProfileNotFound):
        return ConfigInvalid(
            f"AWS_PROFILE names a profile that is not in AWS's configuration on this machine: "
            f"{os.environ.get('AWS_PROFILE') or os.environ.get('AWS_DEFAULT_PROFILE', '?')}.{then}", key="AWS_PROFILE",
        )  # fmt: skip
    if isinstance(error, exceptions.InvalidRegionError | exceptions.NoRegionError):
        return ConfigInvalid(
            "The region is none of AWS's: see OMNI_REGION, AWS_REGION, and the region in the deployment's outputs."
            f"{then}", key="OMNI_REGION",
        )  # fmt: skip
    kinds = ("Credential", "SSO", "Token", "Login")
    if any(word in type(error).__name__ for word in kinds):
        return SourceAuth(f"There are no AWS credentials here ({type(error).__name__}). {_SIGN_IN}{then}")
    return SourceError(
        f"AWS cannot be reached ({type(error).__name__}): check the network"
        f"{', and OMNI_ENDPOINT_URL' if os.environ.get('OMNI_ENDPOINT_URL') else ''}.{then}"
    )
