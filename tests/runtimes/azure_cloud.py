"""Azure on this machine, as far as it can be: Azurite over HTTPS, and fakes that speak to the official clients.

* Azurite (tables, blobs, queues) with OAuth: it takes tokens of the issuer and audience that Entra would write.
* An identity endpoint as App Service has it: the real ManagedIdentityCredential asks it for tokens.
* Key Vault and the resource manager, over HTTPS with a certificate of our own: see ``azure_vault`` and ``azure_arm``.

``environment()`` is what a function's process has to see of it. Every call to a fake and to Azurite is in ``calls``.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import ssl
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from tests.parts import need
from tests.runtimes.azure_answer import Answer
from tests.runtimes.azure_arm import Arm
from tests.runtimes.azure_vault import Secret, Vault
from tests.runtimes.azurite_setup import SCRIPT
from tests.runtimes.process import Child, free_port

ACCOUNT = "devstoreaccount1"
HEADER = "the-header-that-only-this-instance-knows"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
TENANT = "99999999-8888-7777-6666-555555555555"


class AzureCloud:
    """``vault``, ``arm``: the fakes' states. ``denied``: audiences for which the identity gets no token."""

    def __init__(self) -> None:
        need("Azurite", SCRIPT.is_file() and shutil.which("node") is not None,
             "run `python -m tests.runtimes.azurite_setup`, which takes npm")  # fmt: skip
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self.calls: list[str] = []
        self.audiences: list[str] = []
        self.denied: set[str] = set()
        self.vault, self.arm = Vault(), Arm()
        self._servers: list[ThreadingHTTPServer] = []
        self.identity = self._serve(self._identity, tls=False)
        self.management = self._serve(self.arm.answer)
        self.vault.url = self.vault_url = self._serve(self.vault.answer)
        ports = {kind: free_port() for kind in ("blob", "queue", "table")}
        self.blob, self.queue, self.table = (
            f"https://127.0.0.1:{ports[kind]}/{ACCOUNT}" for kind in ("blob", "queue", "table")
        )
        self._azurite = Child(
            ["node", str(SCRIPT), "--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry",
             "--oauth", "basic", "--cert", str(folder / "cert.pem"),
             "--key", str(folder / "key.pem"),
             *(text for kind, port in ports.items() for text in (f"--{kind}Port", str(port)))],
            {}, folder,
        )  # fmt: skip
        try:
            for port in ports.values():
                self._azurite.wait_for_port(port)
        except BaseException:
            self.close()
            raise

    def environment(self) -> dict[str, str]:
        """A function's variables: its identity endpoint, and our certificate authority for `requests`."""
        return {
            "IDENTITY_ENDPOINT": f"{self.identity}/msi/token", "IDENTITY_HEADER": HEADER,
            "AZURE_CLIENT_ID": CLIENT_ID, "REQUESTS_CA_BUNDLE": str(self.ca),
        }  # fmt: skip

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process as such a function: azure-identity reads the process's own environment."""
        before = {name: os.environ.get(name) for name in self.environment()}
        os.environ.update(self.environment())
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def mend(self) -> None:
        """Whatever a test broke is whole again: the cloud is shared by all tests of a process, in any order."""
        self.vault.refuse = self.arm.refuse = None
        self.vault.disabled.clear()
        self.denied.clear()

    def deployment(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """A function's variables for a deployment of its own: table, container and queue are made, secrets are set."""
        from handlers.azure.clients import Identity, vault_name
        from handlers.azure.objects import container_client
        from handlers.azure.platform import table_client
        from handlers.azure.queue import StorageQueue

        name = f"d{uuid.uuid4().hex[:10]}"
        with self.entered():
            identity = Identity(self.environment())
            table_client(f"{self.table}/{name}", identity)().create_table()
            container_client(f"{self.blob}/{name}", identity).create_container()
            StorageQueue(identity, f"{self.queue}/{name}")._client().create_queue()
        self.vault.secrets |= {f"{name}-{vault_name(n)}": Secret(value) for n, value in secrets.items()}
        return {
            **self.environment(), "OMNI_STORE_TABLE": f"{self.table}/{name}", "OMNI_DEPLOYMENT": name,
            "OMNI_SECRET_PREFIX": f"{self.vault_url}/secrets/{name}-", "OMNI_OBJECTS": f"{self.blob}/{name}",
            "OMNI_QUEUE": f"{self.queue}/{name}", "OMNI_ENDPOINT_URL": self.management,
        }  # fmt: skip

    def _identity(self, method: str, url: str, headers: Any, _body: bytes) -> Answer:
        asked = {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}
        if headers.get("X-IDENTITY-HEADER") != HEADER or asked.get("client_id") not in (CLIENT_ID, None):
            return Answer(400, {"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found"})
        self.audiences.append(asked["resource"])
        if asked["resource"] in self.denied:
            return Answer(403, {"statusCode": 403, "message": "denied"})
        expires = int(time.time()) + 3_600
        return Answer(200, {
            "access_token": token(asked["resource"], expires), "expires_on": str(expires), "token_type": "Bearer",
            "resource": asked["resource"], "client_id": CLIENT_ID,
        })  # fmt: skip

    def _serve(self, answer: Any, *, tls: bool = True) -> str:
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                calls.append(f"{self.command} {urlsplit(self.path).path}")
                told = answer(self.command, self.path, self.headers, body)
                content = b"" if told.body is None else json.dumps(told.body).encode()
                self.send_response(told.status)
                for name, value in {"Content-Type": "application/json", **told.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = _do  # noqa: N815 (the names http.server calls)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        if tls:
            server.socket = self._context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._servers.append(server)
        return f"http{'s' * tls}://127.0.0.1:{server.server_address[1]}"

    def close(self) -> None:
        self._azurite.close()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._folder.cleanup()


def token(audience: str, expires: int) -> str:
    """A token that Azurite takes: it looks at issuer, audience and time, and not at the signature."""
    claims = {"aud": audience, "iss": f"https://sts.windows.net/{TENANT}/", "iat": int(time.time()) - 60,
              "nbf": int(time.time()) - 60, "exp": expires, "oid": CLIENT_ID, "tid": TENANT, "ver": "1.0"}  # fmt: skip
    parts = [{"alg": "RS256", "typ": "JWT"}, claims]
    text = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts)
    return f"{text}.{base64.urlsafe_b64encode(b'signature').rstrip(b'=').decode()}"


@functools.cache
def shared() -> AzureCloud:
    """The one of this test process; it ends with it. Skips the test where Azurite is not installed."""
    import atexit

    cloud = AzureCloud()
    atexit.register(cloud.close)
    return cloud
