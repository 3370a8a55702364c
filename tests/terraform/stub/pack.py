"""A provider's schemas as they are kept in ``packs/``: JSON, compressed."""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKS = Path(__file__).parent / "packs"


@dataclass(frozen=True)
class Pack:
    """``source``: ``hashicorp/aws``. ``schemas``: provider, resource_schemas, data_source_schemas as terraform prints
    them. ``rules``: resource type -> what ``rules`` checks."""

    source: str
    version: str
    schemas: dict[str, Any]
    rules: dict[str, Any]

    @property
    def name(self) -> str:
        return self.source.partition("/")[2]

    def block(self, section: str, kind: str) -> dict[str, Any]:
        block: dict[str, Any] = self.schemas[section][kind]["block"]
        return block


def path(source: str, version: str) -> Path:
    return PACKS / f"{source.replace('/', '-').lower()}-{version}.json.xz"


def available() -> list[tuple[str, str]]:
    """(source, version) of every pack, without unpacking the schemas' meaning."""
    found = []
    for file in sorted(PACKS.glob("*.json.xz")):
        kept = json.loads(lzma.decompress(file.read_bytes()))
        found.append((kept["source"], kept["version"]))
    return found


def load(file: Path) -> Pack:
    kept = json.loads(lzma.decompress(file.read_bytes()))
    return Pack(kept["source"], kept["version"], kept["schemas"], kept["rules"])


def save(pack: Pack) -> Path:
    file = path(pack.source, pack.version)
    file.parent.mkdir(exist_ok=True)
    kept = {"source": pack.source, "version": pack.version, "schemas": pack.schemas, "rules": pack.rules}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    file.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    return file
