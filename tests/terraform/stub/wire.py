"""Between terraform's plug-in protocol (5) and plain Python: values as msgpack, schemas as protobuf."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
from tfplugin_proto import tfplugin5_5_pb2 as pb

from tests.terraform.stub.pack import Pack


class _Unknown:
    """Terraform's "known after apply"."""

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN = _Unknown()
_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}
_WRITE_ONLY = b"\x50\x01"
"""Field 10 of an attribute, which is newer than the protobuf package."""


def decode(value: Any) -> Any:
    """A DynamicValue as None, bool, number, str, list, dict or UNKNOWN."""
    if value.json:
        return json.loads(value.json)
    if not value.msgpack:
        return None
    return msgpack.unpackb(value.msgpack, raw=False, strict_map_key=False, ext_hook=lambda _code, _data: UNKNOWN)


def encode(value: Any) -> Any:
    return pb.DynamicValue(msgpack=msgpack.packb(value, use_bin_type=True, default=lambda _: msgpack.ExtType(0, b"\0")))


def response(pack: Pack) -> Any:
    """The answer to GetSchema."""
    made = pb.GetProviderSchema.Response(provider=_schema(pack.schemas["provider"]))
    made.server_capabilities.get_provider_schema_optional = True
    for kind, schema in pack.schemas["resource_schemas"].items():
        made.resource_schemas[kind].CopyFrom(_schema(schema))
    for kind, schema in pack.schemas["data_source_schemas"].items():
        made.data_source_schemas[kind].CopyFrom(_schema(schema))
    return made


def _schema(schema: Mapping[str, Any]) -> Any:
    return pb.Schema(version=schema.get("version", 0), block=_block(schema["block"]))


def _block(block: Mapping[str, Any]) -> Any:
    made = pb.Schema.Block(version=0)
    for name, one in block.get("attributes", {}).items():
        flags = {flag: one.get(flag, False) for flag in ("required", "optional", "computed", "sensitive")}
        attribute = made.attributes.add(name=name, type=json.dumps(one["type"]).encode(), **flags)
        if one.get("write_only"):
            attribute.MergeFromString(_WRITE_ONLY)
    for name, one in block.get("block_types", {}).items():
        made.block_types.add(
            type_name=name, nesting=_NESTING[one["nesting_mode"]], min_items=one.get("min_items", 0),
            max_items=one.get("max_items", 0), block=_block(one["block"]),
        )  # fmt: skip
    return made


def path(steps: Sequence[str | int]) -> Any:
    made = pb.AttributePath()
    for step in steps:
        if isinstance(step, int):
            made.steps.add(element_key_int=step)
        else:
            made.steps.add(attribute_name=step)
    return made


def error(summary: str, detail: str = "", steps: Sequence[str | int] = ()) -> Any:
    made = pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=summary, detail=detail)
    if steps:
        made.attribute.CopyFrom(path(steps))
    return made
