"""Which attributes are sensitive: CDK bindings lose it, Pulumi's SDK of the same provider keeps it.

A Pulumi class lists its secret outputs. Which Terraform type it stands for is told by the names of its properties, and
among equals by the words of its own name.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CLASS = re.compile(r"@pulumi\.type_token\(\"([\w-]+:[^\"]+)\"\)\nclass \w+\(pulumi\.CustomResource\)")
_ALIKE = 0.8
_NOT_SECRET = {"effective_labels", "effective_annotations", "terraform_labels", "pulumi_labels"}
"""Pulumi hides these to keep its diffs quiet."""


@dataclass(frozen=True)
class _Bound:
    words: frozenset[str]
    properties: frozenset[str]
    secrets: frozenset[str]


def flags(wheel: Path, resources: Mapping[str, Any]) -> dict[str, list[str]]:
    """Terraform type -> its sensitive attributes, for the types in ``resources`` (schemas by type)."""
    found: dict[str, list[str]] = {}
    names = {kind: _names(schema["block"]) for kind, schema in resources.items()}
    for bound in _classes(wheel):
        if not bound.secrets:
            continue
        kind = max(names, key=lambda kind: (_overlap(bound, names[kind]), _same_words(bound, kind)))
        if _overlap(bound, names[kind]) < _ALIKE:
            continue
        secret = {_singular(name) for name in bound.secrets}
        found[kind] = sorted(n for n in resources[kind]["block"]["attributes"] if _singular(n) in secret)
    return {kind: secrets for kind, secrets in sorted(found.items()) if secrets}


def _classes(wheel: Path) -> Iterator[_Bound]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith(".py"):
                continue
            text = archive.read(name).decode()
            for match in _CLASS.finditer(text):
                start = text.find("def _internal_init", match.end())
                body = text[start : text.find("    @staticmethod\n    def get(", start)]
                listed = re.search(r"additional_secret_outputs=\[(.*?)\]", body)
                yield _Bound(
                    frozenset(_snake(re.sub(r"[:/]", "_", match[1])).split("_")),
                    frozenset(_singular(p) for p in re.findall(r"__props__\.__dict__\[\"(\w+)\"\]", body)),
                    frozenset(_snake(p) for p in re.findall(r"\"(\w+)\"", listed[1] if listed else "")) - _NOT_SECRET,
                )


def _names(block: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(_singular(n) for n in [*block["attributes"], *block.get("block_types", {})]) - {"id", "timeout"}


def _overlap(bound: _Bound, names: frozenset[str]) -> float:
    return len(bound.properties & names) / max(1, len(bound.properties | names))


def _same_words(bound: _Bound, kind: str) -> int:
    return len(bound.words & set(kind.split("_")[1:]))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
