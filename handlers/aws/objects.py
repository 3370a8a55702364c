"""The Objects port on one S3 bucket.

A name is percent-encoded where S3 or a path reader might take it for something else, and stands under ``o/``; one that
is too long for a key is hashed, under ``h/``. The expiry is kept in the blob's metadata and judged by readers. A tag
tells in how many days it is over, for the bucket's lifecycle rules to remove the bytes (``EXPIRY_CLASSES``).

Of many who replace an expired blob one wins, because S3 compares ETags. An ETag follows from the content, so a blob
that can expire begins with ``NONCE`` random bytes of ours: two that say the same still have different ETags.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from core.errors import ConfigInvalid, Error, SourceError, StateConflict
from handlers.aws.errors import mapped

EXPIRY_TAG = "omnisentinel-days"
EXPIRY_CLASSES = (1, 2, 7, 30, 90, 365)
"""Days after which a lifecycle rule removes what carries EXPIRY_TAG with that number. Terraform makes one for each."""
NONCE = 16
_MAX_KEY_BYTES = 1_000
_CONTENDED_TRIES = 5
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PUT = "s3:PutObject and s3:PutObjectTagging"
_GET = "s3:GetObject, and s3:ListBucket to be told that an object is not there"


class S3Objects:
    """``client()`` gives a botocore S3 client; ``clock()`` seconds since the epoch."""

    def __init__(self, client: Callable[[], Any], bucket: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._bucket, self._clock = client, bucket, clock

    def get(self, name: str) -> bytes | None:
        place = self._place(name)
        client = self._client()
        with self._mapped(_GET):
            try:
                found = client.get_object(**place)
            except ClientError as error:
                if _code(error) == "NoSuchKey":
                    return None
                raise
            with found["Body"] as stream:
                body: bytes = stream.read() if self._live(found["Metadata"]) else b""
        if not self._live(found["Metadata"]):
            return None
        return body[int(found["Metadata"].get("nonce", 0)) :]

    def put(self, name: str, body: bytes, *, only_if_absent: bool = False, expires_at: float | None = None) -> None:
        writer = os.urandom(NONCE)
        asked: dict[str, Any] = {**self._place(name), "Body": body, "Metadata": {"writer": writer.hex()}}
        if expires_at is not None:
            asked["Body"] = writer + body
            asked["Metadata"] |= {"expires": repr(expires_at), "nonce": str(NONCE)}
            if days := _days(expires_at - self._clock()):
                asked["Tagging"] = f"{EXPIRY_TAG}={days}"
        if only_if_absent:
            return self._create(name, asked)
        client = self._client()
        with self._mapped(_PUT):
            client.put_object(**asked)
        return None

    def delete(self, name: str) -> None:
        place = self._place(name)
        client = self._client()
        with self._mapped("s3:DeleteObject"):
            client.delete_object(**place)

    def _create(self, name: str, asked: Mapping[str, Any]) -> None:
        """Put where nothing is, or over the expired blob that was seen there; StateConflict where another was first."""
        condition = {"IfNoneMatch": "*"}
        for attempt in range(_CONTENDED_TRIES):
            if self._try(asked, condition):
                return
            there = self._head(name)
            if there is None:
                condition = {"IfNoneMatch": "*"}
            elif there["Metadata"].get("writer") == asked["Metadata"]["writer"]:
                return  # our own, whose answer was lost and which the SDK sent again
            elif self._live(there["Metadata"]):
                break
            else:
                condition = {"IfMatch": there["ETag"]}
            time.sleep(random.uniform(0, 0.05) * attempt)
        raise StateConflict(f"An object named {name!r} is already there.", object=name)

    def _try(self, asked: Mapping[str, Any], condition: Mapping[str, str]) -> bool:
        """Whether the conditional put was done. 409 is S3's word for two at the same moment."""
        client = self._client()
        with self._mapped(_PUT):
            try:
                client.put_object(**asked, **condition)
            except ClientError as error:
                if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "NoSuchKey"):
                    return False
                raise
        return True

    def _head(self, name: str) -> dict[str, Any] | None:
        client = self._client()
        with self._mapped(_GET):
            try:
                found: dict[str, Any] = client.head_object(**self._place(name))
            except ClientError as error:
                if _code(error) in ("404", "NoSuchKey"):
                    return None
                raise
        return found

    def _live(self, metadata: Mapping[str, str]) -> bool:
        try:
            return "expires" not in metadata or float(metadata["expires"]) > self._clock()
        except ValueError:
            raise SourceError("An object's expiry is no number: it is not ours.", service="S3") from None

    def _place(self, name: str) -> dict[str, str]:
        if not _BUCKET.fullmatch(self._bucket):
            raise ConfigInvalid(
                f"OMNI_OBJECTS has to be the name of an S3 bucket, not {self._bucket!r}.", key="OMNI_OBJECTS"
            )
        return {"Bucket": self._bucket, "Key": object_key(name)}

    def _mapped(self, permission: str) -> AbstractContextManager[None]:
        return mapped("S3", f"bucket {self._bucket!r}", permission, self._meaning)

    def _meaning(self, code: str, _message: str) -> Error | None:
        if code in ("NoSuchBucket", "PermanentRedirect", "AuthorizationHeaderMalformed", "301", "InvalidBucketName"):
            return ConfigInvalid(
                f"There is no S3 bucket {self._bucket!r} in this region: create it, or set OMNI_OBJECTS and "
                "OMNI_REGION.", key="OMNI_OBJECTS", bucket=self._bucket,
            )  # fmt: skip
        return None


def object_key(name: str) -> str:
    """The key of ``name``: ``/`` stays, so that rules by prefix are possible; no two names share one."""
    key = "o/" + "/".join(_segment(part) for part in name.split("/"))
    if len(key) > _MAX_KEY_BYTES:
        return f"h/{hashlib.sha256(name.encode()).hexdigest()}"
    return key


def _segment(part: str) -> str:
    quoted = quote(part, safe="")
    return quoted.replace(".", "%2E") if not quoted.strip(".") else quoted  # '..' is a name here, and no way up


def _days(left_s: float) -> int | None:
    """The shortest class that does not end before the blob does, or None where it outlives all of them."""
    return next((days for days in EXPIRY_CLASSES if left_s <= days * 86_400), None)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
