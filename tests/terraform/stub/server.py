"""The plug-in's process: ``python -m tests.terraform.stub.server PACK``, or ``... --together PACK...`` for several that
stay: their sockets are printed as JSON, and they end with the standard input. Starting is what costs most of a test.

terraform starts it, reads one line with the address of its socket, and speaks gRPC with it, under TLS with a
certificate that is made for the occasion and told in that line.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from tfplugin_proto import tfplugin5_5_pb2 as pb

from tests.terraform.stub.pack import load
from tests.terraform.stub.provider import Provider

_CALLS = [name for name in vars(Provider) if name[0].isupper()]


def serve(pack: Path) -> None:
    """As terraform starts a plug-in: until it says that it is done."""
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="tf") as folder:
        server, socket, told = _server(Provider(load(pack)), over), f"{folder}/s", ""
        if os.environ.get("PLUGIN_CLIENT_CERT"):
            certificate, key = _certificate()
            server.add_secure_port(f"unix://{socket}", grpc.ssl_server_credentials([(key, certificate)]))
            told = "".join(certificate.decode().strip().splitlines()[1:-1]).rstrip("=")
        else:
            server.add_insecure_port(f"unix://{socket}")
        server.start()
        print(f"1|5|unix|{socket}|grpc|{told}", flush=True)
        over.wait()
        server.stop(0)


def serve_together(packs: list[Path]) -> None:
    """Each pack on a socket of its own, until the standard input ends."""
    with tempfile.TemporaryDirectory(prefix="tf") as folder:
        sockets, servers = {}, []  # a server that nobody holds is stopped
        for number, pack in enumerate(packs):
            provider = Provider(load(pack))
            server = _server(provider, threading.Event())
            sockets[provider.source] = f"{folder}/{number}"
            server.add_insecure_port(f"unix://{folder}/{number}")
            server.start()
            servers.append(server)
        print(json.dumps(sockets), flush=True)
        sys.stdin.read()


def _server(provider: Provider, over: threading.Event) -> Any:
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(8), options=unlimited)
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("tfplugin5.Provider", {n: _handler(provider, n) for n in _CALLS}),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": _shutdown(over)}),
        grpc.method_handlers_generic_handler("plugin.GRPCStdio", {
            "StreamStdio": grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(())),
        }),
    ))  # fmt: skip
    return server


def _handler(provider: Provider, name: str) -> Any:
    request = pb.DESCRIPTOR.services_by_name["Provider"].methods_by_name[name].input_type
    answer: Callable[[Any], Any] = getattr(provider, name)

    def called(raw: bytes, _context: Any) -> bytes:
        made: bytes = answer(_message(request).FromString(raw)).SerializeToString()
        return made

    return grpc.unary_unary_rpc_method_handler(called)


def _message(descriptor: Any) -> Any:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(descriptor)


def _shutdown(over: threading.Event) -> Any:
    def called(_raw: bytes, _context: Any) -> bytes:
        over.set()
        return b""

    return grpc.unary_unary_rpc_method_handler(called)


def _certificate() -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


if __name__ == "__main__":
    if sys.argv[1] == "--together":
        serve_together([Path(one) for one in sys.argv[2:]])
    else:
        serve(Path(sys.argv[1]))
