"""The Objects port on one Cloud Storage bucket.

The expiry is metadata of the object (``omni-expires``, exactly) and its custom time, by which the bucket's lifecycle
removes the bytes later. A plain name, as Terraform gives to what it uploads, is the object's own name.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from core.errors import ConfigInvalid, Error, SourceError, StateConflict
from handlers.gcp.errors import ATTEMPT_S, PATIENCE_S, mapped
from handlers.gcp.names import fitting

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_MAX_NAME_BYTES = 900
_NO_BUCKET = "bucket does not exist"
_TRIES = 4
_TRANSFER_S = 30.0
_READ, _WRITE, _DELETE = "storage.objects.get", "storage.objects.create and .delete", "storage.objects.delete"


class GcpObjects:
    """``client()`` gives a google.cloud.storage.Client; ``clock()`` seconds since the epoch."""

    def __init__(self, client: Callable[[], Any], bucket: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._name, self._clock = client, bucket, clock

    def get(self, name: str) -> bytes | None:
        from google.api_core.exceptions import NotFound

        for _ in range(_TRIES):
            found = self._found(name)
            if found is None or not self._alive(found):
                return None
            with mapped("Cloud Storage", f"object {name[:80]!r}", _READ, self._meaning):
                try:
                    # of this generation only: what was judged by its expiry is what is read
                    body = found.download_as_bytes(
                        if_generation_match=found.generation, timeout=_TRANSFER_S, retry=_patient()
                    )
                    return bytes(body)
                except NotFound:
                    continue  # replaced or deleted meanwhile
        raise SourceError(f"The object {name[:80]!r} changes too fast to be read. Try again.", object=name[:80])

    def put(self, name: str, body: bytes, *, only_if_absent: bool = False, expires_at: float | None = None) -> None:
        nonce = os.urandom(12).hex()
        if not only_if_absent:
            self._upload(name, body, expires_at, nonce, generation=None)
            return
        generation = 0
        for _ in range(_TRIES):
            if self._upload(name, body, expires_at, nonce, generation=generation):
                return
            found = self._found(name)
            if found is None:
                generation = 0
            elif (found.metadata or {}).get("omni-nonce") == nonce:
                return  # our own, whose answer was lost and which was sent again
            elif self._alive(found):
                break
            else:
                generation = found.generation  # expired: written over, if nobody was first
        raise StateConflict(f"An object named {name[:80]!r} is already there.", object=name[:80])

    def delete(self, name: str) -> None:
        from google.api_core.exceptions import NotFound

        with mapped("Cloud Storage", f"object {name[:80]!r}", _DELETE, self._meaning):
            try:
                self._blob(name).delete(timeout=ATTEMPT_S, retry=_patient())
            except NotFound:
                return

    def _found(self, name: str) -> Any:
        """The object with its metadata, or None."""
        with mapped("Cloud Storage", f"object {name[:80]!r}", _READ, self._meaning):
            from google.api_core.exceptions import NotFound

            blob = self._blob(name)
            try:
                blob.reload(timeout=ATTEMPT_S, retry=_patient())
            except NotFound as error:
                if _NO_BUCKET in str(error):  # said by its text alone: the code is that of an absent object
                    raise
                return None
            return blob

    def _upload(self, name: str, body: bytes, expires_at: float | None, nonce: str, *, generation: int | None) -> bool:
        """False where the precondition fails: the object is not of that ``generation`` (0: not there)."""
        with mapped("Cloud Storage", f"object {name[:80]!r}", _WRITE, self._meaning):
            from google.api_core.exceptions import PreconditionFailed

            blob = self._blob(name)
            blob.metadata = {"omni-nonce": nonce}
            if expires_at is not None:
                blob.metadata = {"omni-nonce": nonce, "omni-expires": repr(float(expires_at))}
                blob.custom_time = datetime.fromtimestamp(expires_at, UTC)
            try:
                blob.upload_from_string(
                    body, content_type="application/octet-stream", checksum="crc32c", timeout=_TRANSFER_S,
                    if_generation_match=generation, retry=_patient(),
                )  # fmt: skip
            except PreconditionFailed:
                return False
            return True

    def _blob(self, name: str) -> Any:
        fitting(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", self._name, "OMNI_OBJECTS", "the name of a bucket")
        return self._client().bucket(self._name).blob(object_name(name))

    def _alive(self, blob: Any) -> bool:
        text = (blob.metadata or {}).get("omni-expires")
        return text is None or float(text) > self._clock()

    def _meaning(self, code: str) -> Error | None:
        if code != "NOT_FOUND":
            return None
        return ConfigInvalid(
            f"There is no bucket {self._name!r}: create it, or set OMNI_OBJECTS to the one to use.", bucket=self._name
        )


def _patient() -> Any:
    """The library's own idea of what may be tried again: its media calls raise other exceptions than the rest."""
    from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped] # it has no types

    return DEFAULT_RETRY.with_timeout(PATIENCE_S)


def object_name(name: str) -> str:
    """Plain names as they are; every other one percent-encoded, with a hash where it is too long. No two are alike."""
    if _PLAIN.fullmatch(name) and len(name) <= _MAX_NAME_BYTES:
        return name
    quoted = quote(name, safe="").replace(".", "%2E")
    if len(quoted) > _MAX_NAME_BYTES:
        return "%h" + hashlib.sha256(name.encode()).hexdigest()
    return quoted
