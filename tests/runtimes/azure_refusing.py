"""An Azure service that refuses everything with one status and code, over HTTPS, in Azure's own shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.runtimes.azure_answer import Answer
from tests.runtimes.azure_cloud import AzureCloud


@contextmanager
def refusing(cloud: AzureCloud, status: int, code: str) -> Iterator[str]:
    """Its URL, with an account's name as path. Storage says its code in a header and the tables' JSON besides."""

    def answer(_method: str, url: str, _headers: Any, _body: bytes) -> Answer:
        message = {"lang": "en-US", "value": "AZURES-OWN-WORDS with a value in them"}
        body: dict[str, Any] = {"odata.error": {"code": code, "message": message}}
        if "Microsoft.Logic" in url or "/secrets/" in url or "/keys/" in url:
            body = {"error": {"code": code, "message": message["value"]}}
        return Answer(status, body, {"x-ms-error-code": code, "Content-Type": "application/json;odata=nometadata"})

    url = cloud._serve(answer)
    server = cloud._servers[-1]
    try:
        yield f"{url}/account"
    finally:
        server.shutdown()
        server.server_close()
        cloud._servers.remove(server)
