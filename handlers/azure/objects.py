"""The Objects port on one container of Blob Storage.

The expiry is the blob's metadata ``expires`` and is judged by who reads; a lifecycle rule of the account removes the
bytes later. ``put`` in the metadata is random, by which a write knows its own work again after an answer was lost.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from core.errors import ConfigInvalid, Error, ResourceLimit, SourceError, StateConflict
from handlers.azure.clients import STORAGE, Identity, parted, pipeline
from handlers.azure.errors import code_of, mapped

PERMISSION = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/"
EXAMPLE = "https://ACCOUNT.blob.core.windows.net/CONTAINER"
SCOPE, API = "https://storage.azure.com/.default", "2023-11-03"
_READ_S = 60
_WHOLE = 128 * 2**20
_MAX_NAME = 1_024
_TRIES = 4


def container_parts(url: str) -> tuple[str, str]:
    """The account's URL and the container's name. Raises ConfigInvalid."""
    if not url:
        raise ConfigInvalid(f"There is no container: set OMNI_OBJECTS to its URL, {EXAMPLE}.", key="OMNI_OBJECTS")
    account, (container,) = parted(url, "OMNI_OBJECTS", EXAMPLE, segments=1)
    return account, container


def container_client(url: str, identity: Identity) -> Any:
    """An azure.storage.blob.ContainerClient that moves a body of up to 100 MB in one request."""
    account, container = container_parts(url)
    from azure.storage.blob import ContainerClient

    return ContainerClient(
        account, container, identity.credential(), max_single_put_size=_WHOLE, max_single_get_size=_WHOLE,
        **{**STORAGE, "read_timeout": _READ_S},
    )  # fmt: skip


class BlobObjects:
    """``url``: of the container. ``clock``: seconds since the epoch."""

    def __init__(self, identity: Identity, url: str, clock: Callable[[], float] = time.time) -> None:
        self._identity, self._url, self._clock = identity, url, clock
        self._made: Any = None
        self._reader: Any = None

    def get(self, name: str) -> bytes | None:
        """One GET without the blob client, whose import costs 50 ms: every cold start reads its project this way."""
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        if self._reader is None:
            container_parts(self._url)
            self._reader = pipeline(self._url, self._identity, SCOPE, read_timeout=_READ_S)
        url = f"{self._url.rstrip('/')}/{quote(blob_name(name), safe='/~')}"
        with self._mapped(name, "read"):
            answer = self._reader.send_request(HttpRequest("GET", url, headers={"x-ms-version": API}))
            if answer.status_code == 404 and answer.headers.get("x-ms-error-code") != "ContainerNotFound":
                return None
            if answer.status_code != 200:
                raise HttpResponseError(response=answer)
            expires = answer.headers.get("x-ms-meta-expires")
            return bytes(answer.content) if self._alive(name, {"expires": expires} if expires else {}) else None

    def put(self, name: str, body: bytes, *, only_if_absent: bool = False, expires_at: float | None = None) -> None:
        mark = os.urandom(8).hex()
        metadata = {"put": mark, **({} if expires_at is None else {"expires": repr(float(expires_at))})}
        if not only_if_absent:
            with self._mapped(name, "write"):
                self._blob(name).upload_blob(body, overwrite=True, metadata=metadata)
            return
        for _ in range(_TRIES):
            if self._created(name, body, metadata):
                return
        raise _taken(name)

    def delete(self, name: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        with self._mapped(name, "delete"):
            try:
                self._blob(name).delete_blob()
            except ResourceNotFoundError as error:
                if code_of(error) == "ContainerNotFound":
                    raise

    def _created(self, name: str, body: bytes, metadata: dict[str, str]) -> bool:
        """Whether it is written now. False: another try may do, for what was there has gone meanwhile.

        Raises StateConflict where a blob that has not expired is there, unless it is this very one.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

        blob = self._blob(name)
        with self._mapped(name, "write and read"):
            try:
                blob.upload_blob(body, overwrite=False, metadata=metadata)
                return True
            except ResourceExistsError as error:
                if code_of(error) not in ("BlobAlreadyExists", ""):
                    raise
            try:
                there = blob.get_blob_properties()
                if there.metadata.get("put") == metadata["put"]:
                    return True
                if self._alive(name, there.metadata):
                    raise _taken(name)
                blob.upload_blob(body, overwrite=True, metadata=metadata, etag=there.etag,
                                 match_condition=MatchConditions.IfNotModified)  # fmt: skip
                return True
            except (ResourceNotFoundError, ResourceModifiedError):
                return False

    def _alive(self, name: str, metadata: Mapping[str, str]) -> bool:
        text = metadata.get("expires")
        try:
            return text is None or float(text) > self._clock()
        except ValueError:
            raise SourceError(
                f"The blob {name[:80]!r} has an expiry that is no number.", service="Blob Storage"
            ) from None

    def _blob(self, name: str) -> Any:
        if self._made is None:
            self._made = container_client(self._url, self._identity)
        return self._made.get_blob_client(blob_name(name))

    def _mapped(self, name: str, action: str) -> AbstractContextManager[None]:
        def meaning(status: int, code: str) -> Error | None:
            if code in ("ContainerNotFound", "ContainerBeingDeleted"):
                return ConfigInvalid(f"There is no container {self._url}: create it, or set OMNI_OBJECTS.",
                                     key="OMNI_OBJECTS")  # fmt: skip
            if status == 413:
                return ResourceLimit(f"The object {name[:80]!r} is too large for Blob Storage.")
            return None

        return mapped("Blob Storage", f"object {name[:80]!r}", PERMISSION + action, meaning)


def blob_name(name: str) -> str:
    """A blob's name for any text: as it is where Azure takes it (``projects/a.zip``), percent-encoded where it would
    be read as a path (``..``, a dot or slash at the end), a hash where that is too long. No two names meet."""
    segments = name.split("/")
    plain = all(s and not s.endswith(".") for s in segments)
    made = "/".join(quote(s, safe="") for s in segments) if plain else quote(name, safe="").replace(".", "%2E")
    return made if len(made) <= _MAX_NAME and len(segments) < 250 else "%-" + hashlib.sha256(name.encode()).hexdigest()


def _taken(name: str) -> StateConflict:
    return StateConflict(f"An object named {name[:80]!r} is already there.", object=name)
