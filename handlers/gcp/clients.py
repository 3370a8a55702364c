"""Google's official clients, each imported and made when it is first asked for.

Emulators: Firestore, Pub/Sub and Cloud Storage have official variables that the libraries read themselves
(``FIRESTORE_EMULATOR_HOST``, ``PUBSUB_EMULATOR_HOST``, ``STORAGE_EMULATOR_HOST``). The others have no emulator of
Google's: ``OMNI_ENDPOINT_URL``, an ``http://`` URL, is one gRPC server without TLS that speaks for all three.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from core.errors import ConfigInvalid
from core.settings import Settings


class Clients:
    """Makes each client once; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._made: dict[str, Any] = {}

    def firestore(self, project: str | None, database: str) -> Any:
        def make() -> Any:
            from google.cloud import firestore

            return firestore.Client(project=project, database=database)

        return self._once("firestore", make)

    def secrets(self) -> Any:
        def make() -> Any:
            from google.cloud import secretmanager_v1 as api
            from google.cloud.secretmanager_v1.services.secret_manager_service import transports

            return self._grpc(api.SecretManagerServiceClient, transports.SecretManagerServiceGrpcTransport)

        return self._once("secrets", make)

    def kms(self) -> Any:
        def make() -> Any:
            from google.cloud import kms_v1 as api
            from google.cloud.kms_v1.services.key_management_service import transports

            return self._grpc(api.KeyManagementServiceClient, transports.KeyManagementServiceGrpcTransport)

        return self._once("kms", make)

    def scheduler(self) -> Any:
        def make() -> Any:
            from google.cloud import scheduler_v1 as api
            from google.cloud.scheduler_v1.services.cloud_scheduler import transports

            return self._grpc(api.CloudSchedulerClient, transports.CloudSchedulerGrpcTransport)

        return self._once("scheduler", make)

    def publisher(self) -> Any:
        """The plain client: one call publishes. The batching one of ``google.cloud.pubsub`` holds messages back in a
        thread, which a function that is frozen after its answer cannot afford."""

        def make() -> Any:
            from google.pubsub_v1 import PublisherClient

            return PublisherClient()

        return self._once("publisher", make)

    def storage(self) -> Any:
        def make() -> Any:
            # Else the library asks for the bucket's metadata too, in a thread of its own that a function's freeze
            # stops half way, and for which the function would need storage.buckets.get.
            os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
            from google.cloud import storage  # type: ignore[attr-defined] # a namespace package

            return storage.Client()

        return self._once("storage", make)

    def _grpc(self, client: Any, transport: Any) -> Any:
        url = self._settings.endpoint_url
        if not url:
            return client()
        import grpc  # type: ignore[import-untyped] # it has no types

        at = urlsplit(url)
        if at.scheme != "http" or not at.hostname or not at.port:
            raise ConfigInvalid(
                "OMNI_ENDPOINT_URL has to be http://HOST:PORT of an emulator on Google Cloud; leave it empty for the "
                "real services.", key="OMNI_ENDPOINT_URL",
            )  # fmt: skip
        return client(transport=transport(channel=grpc.insecure_channel(f"{at.hostname}:{at.port}")))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            with self._lock:
                if name not in self._made:
                    self._made[name] = make()
        return self._made[name]
