"""What the adapters ask of Azure, call by call, as the actions that Azure's roles are made of.

``recorded()`` listens at `requests`, which every client of Azure's SDK sends through, and changes nothing. The table of
actions is from Microsoft's REST reference ("Authorization" of each operation).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import requests

STORAGE = "Microsoft.Storage/storageAccounts/"
ENTITIES = STORAGE + "tableServices/tables/entities/"
BLOBS = STORAGE + "blobServices/containers/blobs/"
MESSAGES = STORAGE + "queueServices/queues/messages/"
VAULT = "Microsoft.KeyVault/vaults/"
_BATCHED = re.compile(rb"^(POST|PUT|DELETE|MERGE|PATCH) (\S+) HTTP/1\.1\r?\n(.*?)\r?\n\r?\n", re.MULTILINE | re.DOTALL)


@contextmanager
def recorded() -> Iterator[set[str]]:
    """The actions of the calls that are made inside. AssertionError for a call that the table does not have."""
    found: set[str] = set()
    send = requests.Session.send

    def listening(self: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        found.update(actions(request))
        return send(self, request, **kwargs)

    requests.Session.send = listening
    try:
        yield found
    finally:
        requests.Session.send = send


def actions(request: requests.PreparedRequest) -> set[str]:
    method, url = request.method or "", request.url or ""
    if urlsplit(url).path.endswith("/$batch"):
        body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
        parts = _BATCHED.findall(body)
        assert parts, "a batch without operations"
        return {_entity(verb.decode(), b"if-match" in headers.lower()) for verb, _, headers in parts}
    return {action for action in (_action(method, url, "If-Match" in request.headers),) if action}


def _entity(method: str, conditional: bool) -> str:
    if method == "PUT":
        return ENTITIES + ("update/action" if conditional else "write")
    return ENTITIES + {"GET": "read", "POST": "add/action", "DELETE": "delete"}[method]


def _action(method: str, url: str, conditional: bool) -> str:
    parts = urlsplit(url)
    path = [unquote(p) for p in parts.path.split("/") if p]
    if path[:1] == ["msi"] or "login.microsoftonline" in parts.netloc:
        return ""  # a token
    if "providers" in path:
        return "/".join(path[path.index("providers") + 1 :][:2]) + "/" + {
            "GET": "read", "PUT": "write", "DELETE": "delete"}[method]  # fmt: skip
    if path[:1] == ["secrets"]:
        return VAULT + "secrets/getSecret/action"
    if path[:1] == ["keys"]:
        return VAULT + "keys/" + {"wrapkey": "wrap", "unwrapkey": "unwrap"}[path[-1]] + "/action"
    if path[-1] == "messages":
        assert method == "POST"
        return MESSAGES + "add/action"
    if len(path) == 2 and "(" not in path[1] and method != "POST":
        raise AssertionError(f"{method} {parts.path}: a call on a whole container or table")
    if "(" in path[-1] or len(path) == 2:
        return _entity(method, conditional)
    return BLOBS + {"GET": "read", "HEAD": "read", "PUT": "write", "DELETE": "delete"}[method]
