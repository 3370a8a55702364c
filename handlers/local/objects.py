"""Blobs as files of one folder: the name percent-encoded, eight bytes of expiry, then the body."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from core.errors import Error, SourceAuth, SourceError, StateConflict

_EXPIRY = struct.Struct(">d")
_NEVER = float("inf")
_PURGE_S = 60.0


class LocalObjects:
    """A blob is whole or not there: it is written beside its place and moved. Created lazily, mode 0700."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock
        self._purged_at = float("-inf")

    def get(self, name: str) -> bytes | None:
        with _readable(name):
            return self._live(self._path(name))

    def put(self, name: str, body: bytes, *, only_if_absent: bool = False, expires_at: float | None = None) -> None:
        path = self._path(name)
        with _readable(name):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = self._folder / f"part~{os.urandom(8).hex()}"
            try:
                fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(fd, "wb") as file:
                    file.write(_EXPIRY.pack(_NEVER if expires_at is None else expires_at))
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                with self._locked():
                    if only_if_absent and self._live(path) is not None:
                        raise StateConflict(f"An object named {name!r} is already there.", object=name)
                    part.replace(path)
                    self._purge()
            finally:
                part.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        with _readable(name):
            self._path(name).unlink(missing_ok=True)

    def _purge(self) -> None:
        """Remove what has expired, at most once a minute; under the lock, so that none is removed as it is replaced."""
        now = self._clock()
        if now - self._purged_at < _PURGE_S:
            return
        self._purged_at = now
        for path in self._folder.iterdir():
            if path.name.startswith(("o~", "h~")):
                with path.open("rb") as file:
                    head = file.read(_EXPIRY.size)
                if len(head) == _EXPIRY.size and _EXPIRY.unpack(head)[0] <= now:
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        file = "o~" + quote(name, safe="")  # the prefix keeps names apart from parts being written
        if len(file) > 200:
            import hashlib

            file = f"h~{hashlib.sha256(name.encode()).hexdigest()}"
        return self._folder / file

    def _live(self, path: Path) -> bytes | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        (expires,) = _EXPIRY.unpack_from(content)
        return content[_EXPIRY.size :] if expires > self._clock() else None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time among the threads and processes of this machine."""
        import fcntl

        with (self._folder / "lock~").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file, even if the process dies
            yield


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _explained(error, name) from error


def _explained(error: OSError, name: str) -> Error:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SourceAuth(f"No permission on {error.filename} for the object {name!r}: allow reading and writing.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SourceError(f"The disk is full: the object {name!r} was not stored. Free some space.")
    return SourceError(f"The object {name!r} cannot be reached at {error.filename}: {error.strerror}.")
