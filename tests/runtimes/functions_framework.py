"""Google's functions-framework as a process, serving one target the way Cloud Run starts it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import urllib3

from tests.runtimes.process import Child, free_port


class Function:
    """``with Function("ask", source, env) as f: f.request("POST", "/v1/query", ...)``."""

    def __init__(
        self, target: str, source: Path, env: Mapping[str, str], *, signature: str = "http",
        python: Path = Path(sys.executable), paths: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        self.port = free_port()
        self.child = Child(
            [str(python), "-m", "functions_framework", "--target", target, "--source", str(source),
             "--signature-type", signature, "--host", "127.0.0.1", "--port", str(self.port)],
            {"K_SERVICE": "omnisentinel-test", "FUNCTION_TARGET": target,
             "PYTHONPATH": ":".join(map(str, paths)), **env},
            source.parent,
        )  # fmt: skip
        try:
            self.child.wait_for_port(self.port)
        except BaseException:
            self.child.close()
            raise
        self._http = urllib3.PoolManager(retries=False)

    def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        return self._http.request(
            method, f"http://127.0.0.1:{self.port}{path}", body=body, headers=dict(headers or {}), timeout=60
        )

    def log(self) -> str:
        return self.child.log()

    def __enter__(self) -> Function:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.clear()
        self.child.close()
