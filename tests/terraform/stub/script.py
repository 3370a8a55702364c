"""What the generated TypeScript of one resource says about it: classes, their attributes, and how they are written.

The generator writes every attribute as

    // memory_size - computed: false, optional: true, required: false
    private _memorySize?: number;
    get memorySize() { return this.getNumberAttribute('memory_size'); }

its nested values as classes named ...OutputReference, and for each struct a function ``...ToHclTerraform`` that tells
block from attribute and the kind of collection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_CLASS = re.compile(r"^(?:export )?class (\w+) extends (?:cdkt[nf]|terraform)\.(\w+) \{$", re.M)
_ATTRIBUTE = re.compile(r"^ +// (\w+) - computed: (\w+), optional: (\w+), required: (\w+)$", re.M)
_FIELD = re.compile(r"^ +(?:private )?_\w+ = new (?:\w+\.)?(\w+)\(this, \"(\w+)\"(?:, (true|false))?\)", re.M)
_GETTER = re.compile(r"return (.+);$", re.M)
_WRITER = re.compile(r"^(?:export )?function (\w+)ToHclTerraform\([^)]*\): any \{$(.*?)^\}", re.M | re.S)
_WRITTEN = re.compile(
    r"^ +(\w+): \{\n\s+value: (.*?),\n\s+isBlock: (true|false),\n"
    r"\s+type: \"(\w+)\",\n\s+storageClassType: \"(\w+)\",",
    re.M,
)
_RESOURCE = re.compile(r"tfResourceType = \"(\w+)\"")
_WRAPPERS = ("OutputReference", "List", "Map", "MapList", "ListMap", "ListList")


@dataclass(frozen=True)
class Written:
    """How a member is turned into HCL. ``kind``: simple, list, set, map, struct; ``storage``: stringList and so on."""

    value: str
    is_block: bool
    kind: str
    storage: str


@dataclass(frozen=True)
class Attribute:
    """``nested``: the class of its value, where it has one. ``is_set``: that class was told to be a set."""

    computed: bool
    optional: bool
    required: bool
    write_only: bool
    getter: str
    nested: str | None
    is_set: bool | None


class Script:
    def __init__(self, text: str) -> None:
        self.classes: dict[str, tuple[str, str]] = {}
        for found in _CLASS.finditer(text):
            self.classes[found[1]] = (found[2], text[found.end() : text.find("\n}\n", found.end())])
        self._text = text

    @cached_property
    def writers(self) -> dict[str, dict[str, Written]]:
        return {name: written(body) for name, body in _WRITER.findall(self._text)}

    def attributes(self, cls: str) -> dict[str, Attribute]:
        """By Terraform's name, as the class declares them."""
        body = self.classes[cls][1]
        fields = {name: (made, flag) for made, name, flag in _FIELD.findall(body)}
        marks = list(_ATTRIBUTE.finditer(body))
        found = {}
        for at, mark in enumerate(marks):
            segment = body[mark.end() : marks[at + 1].start() if at + 1 < len(marks) else len(body)]
            getter = _GETTER.search(segment)
            nested, flag = fields.get(mark[1], (None, ""))
            found[mark[1]] = Attribute(
                computed=mark[2] == "true",
                optional=mark[3] == "true",
                required=mark[4] == "true",
                write_only="@deprecated Write-only" in segment,
                getter=getter[1] if getter else "",
                nested=nested,
                is_set={"true": True, "false": False}.get(flag),
            )
        return found

    def writer_of(self, cls: str) -> dict[str, Written]:
        """How the struct behind an OutputReference class is written."""
        struct = cls.removesuffix("OutputReference")
        return self.writers.get(struct[0].lower() + struct[1:], {})

    def struct(self, cls: str) -> tuple[str, str] | None:
        """The OutputReference behind a member's class and what wraps it; the shortest wrapper that fits is the right
        one (``UrlPathMapList`` is a list of UrlPathMap, if there is such a struct)."""
        for wrapper in _WRAPPERS:
            name = cls[: -len(wrapper)] + "OutputReference"
            if cls.endswith(wrapper) and name in self.classes:
                return name, wrapper
        return None

    def resource_type(self, cls: str) -> str | None:
        found = _RESOURCE.search(self.classes[cls][1])
        return found[1] if found else None

    def top(self, cls: str) -> dict[str, Written]:
        """How the members of a resource, data source or provider class are written."""
        body = self.classes[cls][1]
        start = body.find("synthesizeHclAttributes")
        return written(body[start:]) if start >= 0 else {}


def written(text: str) -> dict[str, Written]:
    return {name: Written(value, block == "true", kind, storage) for name, value, block, kind, storage in
            _WRITTEN.findall(text)}  # fmt: skip
