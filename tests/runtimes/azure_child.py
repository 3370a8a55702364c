"""Runs Microsoft's own worker library in a Python 3.13 process, as the host's gRPC messages would drive it.

Started by ``azure_worker``; speaks JSON lines on its first stdin and stdout: ``{"directory": ...}`` to begin with, then
one ``{"function", "http" | "queue"}`` per invocation. The classes below stand in for the protobuf messages.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar


class Message:
    """Attributes by keyword; what was not set is empty, as in protobuf."""

    oneof: tuple[str, ...] = ()
    empty: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(dict.fromkeys(self.oneof))
        self.__dict__.update(self.empty)
        self.__dict__.update(fields)

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 (protobuf's name)
        return next((name for name in self.oneof if self.__dict__[name] is not None), None)


class TypedData(Message):
    oneof = (
        "string", "json", "bytes", "stream", "http", "int", "double", "collection_bytes", "collection_string",
        "collection_double", "collection_sint64", "model_binding_data", "collection_model_binding_data",
    )  # fmt: skip


class RpcHttp(Message):
    empty: ClassVar[Mapping[str, Any]] = {
        "method": "", "url": "", "status_code": "", "headers": {}, "params": {}, "query": {}, "body": None,
        "cookies": None,
    }  # fmt: skip


class ParameterBinding(Message):
    oneof = ("data", "rpc_shared_memory")
    empty: ClassVar[Mapping[str, Any]] = {"name": ""}


class StatusResult(Message):
    Failure, Success, Cancelled = 0, 1, 2
    empty: ClassVar[Mapping[str, Any]] = {"result": None, "exception": None, "logs": ()}


class BindingInfo(Message):
    inout, undefined, out = 2, -1, 1
    empty: ClassVar[Mapping[str, Any]] = {"type": "", "direction": 0, "data_type": -1, "properties": {}}


class Protos:
    """What the library reaches through ``request.properties["protos"]``; anything else it may construct is plain."""

    TypedData, RpcHttp, ParameterBinding = TypedData, RpcHttp, ParameterBinding
    StatusResult, BindingInfo = StatusResult, BindingInfo

    def __getattr__(self, name: str) -> type[Message]:
        return type(name, (Message,), {})


def envelope(field: str, content: Message, protos: Protos) -> Any:
    request = Message(request_id=uuid.uuid4().hex)
    setattr(request, field, content)
    return Message(request=request, properties={"host": "127.0.0.1", "protos": protos})


async def serve(lines: Any, out: Any) -> None:
    begin = json.loads(lines.readline())
    directory = begin["directory"]
    sys.path[:0] = [f"{directory}/.python_packages/lib/site-packages", directory]  # as the host's worker does
    os.chdir(directory)
    import azure_functions_runtime as worker

    protos = Protos()
    started = await worker.worker_init_request(envelope("worker_init_request", Message(
        capabilities={}, function_app_directory=directory, host_version="4.1041", worker_directory=directory,
    ), protos))  # fmt: skip
    answer(out, {"ok": started.result.status == StatusResult.Success, "error": failure(started.result)})
    indexed = await worker.functions_metadata_request(envelope("functions_metadata_request", Message(
        function_app_directory=directory), protos))  # fmt: skip
    functions = {f.name: f for f in indexed.function_metadata_results or ()}
    for function in functions.values():
        loaded = await worker.function_load_request(envelope("function_load_request", Message(
            function_id=function.function_id, metadata=function), protos))  # fmt: skip
        assert loaded.result.status == StatusResult.Success
    answer(out, {"functions": {
        name: [json.loads(text) for text in f.raw_bindings] for name, f in functions.items()
    }})  # fmt: skip
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, lines.readline):
        answer(out, await invoke(worker, functions, json.loads(line), protos))


async def invoke(worker: Any, functions: dict[str, Any], asked: dict[str, Any], protos: Protos) -> dict[str, Any]:
    function = functions[asked["function"]]
    trigger = next(b for b in map(json.loads, function.raw_bindings) if b["type"].lower().endswith("trigger"))
    done = await worker.invocation_request(envelope("invocation_request", Message(
        invocation_id=str(uuid.uuid4()), function_id=function.function_id,
        input_data=[ParameterBinding(name=trigger["name"], data=incoming(asked))],
        trigger_metadata={name: TypedData(string=text) for name, text in asked.get("metadata", {}).items()},
        trace_context=Message(trace_parent="", trace_state="", attributes={}),
        retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
    ), protos))  # fmt: skip
    if done.result.status != StatusResult.Success:
        return {"ok": False, "error": failure(done.result)}
    http = getattr(getattr(done, "return_value", None), "http", None)
    if http is None:
        return {"ok": True}
    body = http.body.bytes if http.body.bytes is not None else (http.body.string or "").encode()
    return {"ok": True, "status": int(http.status_code), "headers": dict(http.headers),
            "body": base64.b64encode(body).decode()}  # fmt: skip


def incoming(asked: dict[str, Any]) -> TypedData:
    http = asked.get("http")
    if http is None:
        return TypedData(string=asked["queue"])
    return TypedData(http=RpcHttp(
        method=http["method"], url=http["url"], headers=http["headers"], query=http.get("query", {}),
        params=http.get("params", {}), body=TypedData(bytes=base64.b64decode(http["body"])),
    ))  # fmt: skip


def failure(result: Any) -> dict[str, str] | None:
    error = getattr(result, "exception", None)
    if error is None:
        return None
    return {"message": str(getattr(error, "message", "")), "stack": str(getattr(error, "stack_trace", ""))}


def answer(out: Any, value: dict[str, Any]) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a function prints goes to stderr: stdout is ours
    asyncio.run(serve(sys.stdin, out))


if __name__ == "__main__":
    main()
