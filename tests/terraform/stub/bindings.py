"""A provider's schema out of its CDK bindings, in the form of ``terraform providers schema -json``.

The bindings keep every name, type, required/optional/computed, the nesting of blocks, "at least one" and "at most
one". They lose: sensitive (see ``secret``), deprecated, other minimums and maximums, and set versus list below the
first level of a nested attribute.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from tests.terraform.stub.script import Attribute, Script, Written
from tests.terraform.stub.sources import Sources

Type = Any
"""Terraform's type as JSON: ``"string"`` or ``["list", TYPE]`` or ``["object", {NAME: TYPE}]``."""
Block = dict[str, Any]

_PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
_FOLDED = 4
"""The bindings fold subtrees that repeat into one recursive class; it is unfolded this often."""
_GETTERS: tuple[tuple[str, Type], ...] = (
    (r"Fn\.tolist\(this\.getListAttribute", ["set", "string"]),
    (r"Fn\.tolist\(this\.getNumberListAttribute", ["set", "number"]),
    ("getListAttribute", ["list", "string"]),
    ("getNumberListAttribute", ["list", "number"]),
    ("getStringMapAttribute", ["map", "string"]),
    ("getNumberMapAttribute", ["map", "number"]),
    ("getBooleanMapAttribute", ["map", "bool"]),
    ("getAnyMapAttribute", "dynamic"),
    ("getStringAttribute", "string"),
    ("getNumberAttribute", "number"),
    ("getBooleanAttribute", "bool"),
)
_SECTIONS = {"TerraformResource": "resource_schemas", "TerraformDataSource": "data_source_schemas"}


def schema(sources: Sources, types: Collection[str]) -> dict[str, Any]:
    """``{"provider", "resource_schemas", "data_source_schemas"}`` of the named types and the provider itself."""
    out: dict[str, Any] = {"provider": {}, "resource_schemas": {}, "data_source_schemas": {}}
    for text in sources.folders.values():
        if "TerraformProvider" not in text and not any(name in text for name in types):
            continue
        script = Script(text)
        for cls, (base, _) in script.classes.items():
            if base == "TerraformProvider":
                out["provider"] = {"version": 0, "block": _provider(script, cls)}
            elif base in _SECTIONS and script.resource_type(cls) in types:
                found = {"version": 0, "block": _Reader(script).block(cls, script.top(cls))}
                out[_SECTIONS[base]][script.resource_type(cls)] = found
    return out


class _Reader:
    def __init__(self, script: Script) -> None:
        self._script = script

    def block(self, cls: str, how: dict[str, Written], within: tuple[str, ...] = ()) -> Block:
        within = (*within, cls)
        found: Block = {"attributes": {}}
        for name, attribute in self._script.attributes(cls).items():
            written = how.get(name)
            struct = self._script.struct(attribute.nested) if attribute.nested else None
            if written and struct and not attribute.computed:
                if within.count(struct[0]) >= _FOLDED:
                    continue
                if _is_block(written, struct[1]):
                    nested = self._nested(attribute, written, struct, within)
                    found.setdefault("block_types", {})[name] = nested
                    continue
            found["attributes"][name] = self._plain(attribute, written)
        return found

    def _nested(
        self, attribute: Attribute, written: Written, struct: tuple[str, str], within: tuple[str, ...]
    ) -> dict[str, Any]:
        inner = self.block(struct[0], self._script.writer_of(struct[0]), within)
        if written.kind == "struct":
            return {"nesting_mode": "single", "block": inner}
        found: dict[str, Any] = {"nesting_mode": written.kind, "block": inner}
        if attribute.required:
            found["min_items"] = 1
        if struct[1] == "OutputReference":
            found["max_items"] = 1
        return found

    def _plain(self, attribute: Attribute, written: Written | None) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self.type(attribute, written)}
        for flag in ("required", "optional", "computed", "write_only"):
            if getattr(attribute, flag):
                found[flag] = True
        return found

    def type(self, attribute: Attribute, written: Written | None, within: tuple[str, ...] = ()) -> Type:
        if attribute.nested:
            return self._of_class(attribute.nested, attribute, written, within)
        if written:
            return simple(written.kind, written.storage)
        return next((t for pattern, t in _GETTERS if re.search(pattern, attribute.getter)), "dynamic")

    def _of_class(self, cls: str, attribute: Attribute, written: Written | None, within: tuple[str, ...]) -> Type:
        outer = "set" if attribute.is_set else "list"
        primitive = re.fullmatch(r"(String|Number|Boolean|Any)((?:Map|List)+)", cls)
        if primitive and cls not in self._script.classes:
            found: Type = _PRIMITIVES[primitive[1].lower()]
            *inner, last = re.findall("Map|List", primitive[2])
            for part in inner:
                found = ["map" if part == "Map" else "list", found]
            return ["map" if last == "Map" else outer, found]
        struct = self._script.struct(cls)
        if struct is None or within.count(struct[0]) >= _FOLDED:
            return "dynamic"
        made = self._object(struct[0], within)
        if struct[1] == "OutputReference":
            return [written.kind, made] if written and written.kind in ("list", "set") else made
        return {
            "List": [outer, made],
            "Map": ["map", made],
            "MapList": [outer, ["map", made]],
            "ListMap": ["map", ["list", made]],
            "ListList": [outer, ["list", made]],
        }[struct[1]]

    def _object(self, cls: str, within: tuple[str, ...]) -> Type:
        how, within = self._script.writer_of(cls), (*within, cls)
        members = self._script.attributes(cls).items()
        return ["object", {name: self.type(attribute, how.get(name), within) for name, attribute in members}]


def simple(kind: str, storage: str) -> Type:
    """The type of ``stringMapList`` and the like, in a list, set or map."""
    base = re.fullmatch(r"(\w+?)((?:List|Map)*)", storage)
    if base is None or base[1] == "any":
        return "dynamic"
    found: Type = _PRIMITIVES.get(base[1], "dynamic")
    wrapped = re.findall("List|Map", base[2])
    for part in wrapped[:-1]:
        found = ["list" if part == "List" else "map", found]
    return [kind, found] if wrapped else found


def _is_block(written: Written, wrapper: str) -> bool:
    if re.search(r"listMapperHcl\([\w.]+, true\)", written.value):
        return True
    single = wrapper == "OutputReference"
    return single if written.kind in ("list", "set") else written.kind == "struct"


def _provider(script: Script, cls: str) -> Block:
    """The provider's own block: it has no OutputReference classes, only writers."""
    declared = script.attributes(cls)
    members = {name: how for name, how in script.top(cls).items() if name != "alias"}
    return _written_block(script, members, {name for name, one in declared.items() if one.required})


def _written_block(script: Script, members: dict[str, Written], required: Collection[str] = ()) -> Block:
    found: Block = {"attributes": {}}
    for name, how in members.items():
        struct = re.search(r"(\w+)ToHclTerraform", how.value)
        if how.is_block and struct:
            nested: dict[str, Any] = {
                "nesting_mode": "single" if how.kind == "struct" else how.kind,
                "block": _written_block(script, script.writers.get(struct[1], {})),
            }
            if how.kind != "struct" and "listMapperHcl" not in how.value:
                nested["max_items"] = 1
            found.setdefault("block_types", {})[name] = nested
        else:
            flag = "required" if name in required else "optional"
            found["attributes"][name] = {"type": simple(how.kind, how.storage), flag: True}
    return found
