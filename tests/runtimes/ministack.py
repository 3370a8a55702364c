"""ministack, an AWS emulator, on a free local port: Secrets Manager and DynamoDB for the tests of AWS's ports."""

from __future__ import annotations

import atexit
import functools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import orjson

from tests.parts import need
from tests.runtimes.process import Child, free_port

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


class Emulator(Protocol):
    program: str
    url: str

    def __init__(self) -> None: ...

    def close(self) -> None: ...


def command(name: str) -> str | None:
    """The path of a console script beside this interpreter, or on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else shutil.which(name)


@functools.cache
def shared(kind: type[Emulator]) -> Emulator:
    """The one server of that kind for this test process; ends with it. Skips the test where it is not installed."""
    need(kind.program, command(kind.program) is not None, "install the dev extra")
    server = kind()
    atexit.register(server.close)
    return server


_MINISTACK = """
import sys
sys.path.append(sys.argv.pop(1))
from ministack.__main__ import main
main()
"""


class Ministack:
    """``url`` is the endpoint of every service.

    ``python``: the interpreter to run it with, which is also the one that its Lambda functions run on, with nothing but
    what is in their zips (this environment's packages are for ministack alone).
    """

    program = "ministack"

    def __init__(self, python: Path | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._folder = tempfile.TemporaryDirectory()
        binary = command(self.program)
        assert binary is not None
        packages = str(Path(orjson.__file__).parents[1])
        started = [binary] if python is None else [str(python), "-c", _MINISTACK, packages]
        self.child = Child(started, {
            "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "LAMBDA_EXECUTOR": "local",
        }, Path(self._folder.name))  # fmt: skip
        try:
            self.child.wait_for_port(port)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.child.close()
        self._folder.cleanup()


_MOTO = """
import sys
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app, run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False,
           request_handler=MotoRequestHandler)
"""


class Moto:
    """moto's server, the second opinion, one request at a time.

    With threads, as its own command starts it, it checks a condition and writes without a lock: under load two
    puts that expect the same version both succeed.
    """

    program = "moto_server"

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.child = Child([sys.executable, "-c", _MOTO, str(port)], {}, Path.cwd())
        try:
            self.child.wait_for_port(port)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.child.close()


def client(service: str, url: str) -> Any:
    """A botocore client of the emulator at ``url``."""
    import botocore.session

    return botocore.session.get_session().create_client(
        service, region_name="us-east-1", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test"
    )


def create_table(url: str, table: str) -> None:
    """The state table as Terraform creates it."""
    dynamodb = client("dynamodb", url)
    dynamodb.create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    )  # fmt: skip
    dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
