"""Secret Manager, Cloud KMS and Cloud Scheduler, which have no emulator: one gRPC server that speaks their protocol to
Google's own clients, built from the message types those clients ship. It does what the wire needs and no more.

    with GoogleFakes() as fakes: ... OMNI_ENDPOINT_URL=fakes.url
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import google_crc32c
import grpc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud.kms_v1 import types as kms
from google.cloud.scheduler_v1 import types as scheduler
from google.cloud.secretmanager_v1 import types as secrets
from google.protobuf.empty_pb2 import Empty

Code = grpc.StatusCode


class Refuse(Exception):
    """What a fake answers with instead."""

    def __init__(self, code: Code, message: str = "a message that may quote s3cret values") -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Version:
    value: bytes
    state: str = "ENABLED"


@dataclass
class GoogleFakes:
    """``secrets``: name -> versions from 1. ``keys``: name -> AES key. ``disabled``: names of keys.

    ``jobs``: name -> Job. ``refuse``: method (``AccessSecretVersion``) -> what its next calls are
    answered with. ``calls``: methods.
    """

    secrets: dict[str, list[Version]] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    jobs: dict[str, scheduler.Job] = field(default_factory=dict)
    refuse: dict[str, list[Refuse]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    damage: bool = False
    """Checksums of answers are wrong."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(8))
        for service, methods in self._services().items():
            handlers = {name: self._handler(name, *rest) for name, rest in methods.items()}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> GoogleFakes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.stop(None).wait()

    def add(self, name: str, value: str) -> None:
        self.secrets.setdefault(name, []).append(Version(value.encode()))

    def _services(self) -> dict[str, dict[str, tuple[Callable[[Any], Any], Any, Any]]]:
        return {
            "google.cloud.secretmanager.v1.SecretManagerService": {
                "AccessSecretVersion": (
                    self._access,
                    secrets.AccessSecretVersionRequest,
                    secrets.AccessSecretVersionResponse,
                ),
                "ListSecretVersions": (
                    self._versions,
                    secrets.ListSecretVersionsRequest,
                    secrets.ListSecretVersionsResponse,
                ),
            },
            "google.cloud.kms.v1.KeyManagementService": {
                "Encrypt": (self._encrypt, kms.EncryptRequest, kms.EncryptResponse),
                "Decrypt": (self._decrypt, kms.DecryptRequest, kms.DecryptResponse),
            },
            "google.cloud.scheduler.v1.CloudScheduler": {
                "CreateJob": (self._create, scheduler.CreateJobRequest, scheduler.Job),
                "UpdateJob": (self._update, scheduler.UpdateJobRequest, scheduler.Job),
                "DeleteJob": (self._delete, scheduler.DeleteJobRequest, None),
                "ListJobs": (self._list, scheduler.ListJobsRequest, scheduler.ListJobsResponse),
            },
        }

    def _handler(self, name: str, answer: Callable[[Any], Any], request: Any, response: Any) -> Any:
        def call(message: Any, context: Any) -> Any:
            with self._lock:
                self.calls.append(name)
                try:
                    waiting = self.refuse.get(name)
                    if waiting:
                        raise waiting.pop(0)
                    return answer(message)
                except Refuse as refused:
                    context.abort(refused.code, refused.message)

        written = Empty.SerializeToString if response is None else response.serialize
        return grpc.unary_unary_rpc_method_handler(call, request.deserialize, written)

    # ── Secret Manager ───────────────────────────────────────────────────────────────────────────────────────────

    def _access(self, request: Any) -> Any:
        name, _, asked = request.name.partition("/versions/")
        versions = self.secrets.get(name)
        if not versions:
            raise Refuse(Code.NOT_FOUND)
        number = len(versions) if asked == "latest" else int(asked)
        found = versions[number - 1]
        if found.state != "ENABLED":
            raise Refuse(Code.FAILED_PRECONDITION)
        crc = _crc(found.value) ^ int(self.damage)
        payload = {"data": found.value, "data_crc32c": crc}
        return secrets.AccessSecretVersionResponse(name=f"{name}/versions/{number}", payload=payload)

    def _versions(self, request: Any) -> Any:
        assert request.filter == "state:ENABLED"
        if request.parent not in self.secrets:
            raise Refuse(Code.NOT_FOUND)
        numbered = enumerate(self.secrets[request.parent], start=1)
        enabled = [{"name": f"{request.parent}/versions/{n}"} for n, v in numbered if v.state == "ENABLED"]
        return secrets.ListSecretVersionsResponse(versions=list(reversed(enabled)))

    # ── Cloud KMS ────────────────────────────────────────────────────────────────────────────────────────────────

    def _key(self, name: str) -> AESGCM:
        if name not in self.keys:
            raise Refuse(Code.NOT_FOUND)
        if name in self.disabled:
            raise Refuse(Code.FAILED_PRECONDITION)
        return AESGCM(self.keys[name])

    def _encrypt(self, request: Any) -> Any:
        key = self._key(request.name)
        plaintext, bound = request.plaintext, request.additional_authenticated_data
        if request.plaintext_crc32c != _crc(plaintext) or request.additional_authenticated_data_crc32c != _crc(bound):
            raise Refuse(Code.INVALID_ARGUMENT)
        nonce = os.urandom(12)
        sealed = nonce + key.encrypt(nonce, plaintext, bound)
        return kms.EncryptResponse(
            name=request.name, ciphertext=sealed, ciphertext_crc32c=_crc(sealed) ^ int(self.damage),
            verified_plaintext_crc32c=True, verified_additional_authenticated_data_crc32c=True,
        )  # fmt: skip

    def _decrypt(self, request: Any) -> Any:
        key, sealed, bound = self._key(request.name), request.ciphertext, request.additional_authenticated_data
        if request.ciphertext_crc32c != _crc(sealed) or request.additional_authenticated_data_crc32c != _crc(bound):
            raise Refuse(Code.INVALID_ARGUMENT)
        try:
            opened = key.decrypt(sealed[:12], sealed[12:], bound)
        except (InvalidTag, ValueError):
            raise Refuse(Code.INVALID_ARGUMENT) from None
        return kms.DecryptResponse(plaintext=opened, plaintext_crc32c=_crc(opened) ^ int(self.damage))

    # ── Cloud Scheduler ──────────────────────────────────────────────────────────────────────────────────────────

    def _create(self, request: Any) -> Any:
        if request.job.name in self.jobs:
            raise Refuse(Code.ALREADY_EXISTS)
        if "/locations/" not in request.parent or request.parent.endswith("/nowhere"):
            raise Refuse(Code.NOT_FOUND)
        return self._kept(request.job)

    def _update(self, request: Any) -> Any:
        if request.job.name not in self.jobs:
            raise Refuse(Code.NOT_FOUND)
        return self._kept(request.job)

    def _kept(self, job: Any) -> Any:
        """As the service checks a job: the form of its name, its text, its zone."""
        if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/jobs/[A-Za-z0-9_-]{1,500}", job.name):
            raise Refuse(Code.INVALID_ARGUMENT)
        if len(job.description) > 500 or len(job.schedule.split()) != 5:
            raise Refuse(Code.INVALID_ARGUMENT)
        ZoneInfo(job.time_zone)
        self.jobs[job.name] = job
        return job

    def _delete(self, request: Any) -> Any:
        if self.jobs.pop(request.name, None) is None:
            raise Refuse(Code.NOT_FOUND)
        return Empty()

    def _list(self, request: Any) -> Any:
        """Two a page, whatever was asked: a client has to ask on."""
        names: Iterable[str] = sorted(name for name in self.jobs if name.startswith(request.parent + "/jobs/"))
        start = int(request.page_token or 0)
        page = list(names)[start : start + 2]
        more = str(start + 2) if len(list(names)) > start + 2 else ""
        return scheduler.ListJobsResponse(jobs=[self.jobs[name] for name in page], next_page_token=more)


def _crc(data: bytes) -> int:
    return int(google_crc32c.value(bytes(data)))
