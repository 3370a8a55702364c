"""The TypeScript inside a wheel of CDK bindings, per resource: the compiled files carry it in their source maps."""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_SAYS = re.compile(r"bindings for (\S+) provider version ([\d.]+)")


@dataclass(frozen=True)
class Sources:
    """``source``: ``hashicorp/aws``. ``folders``: resource folder -> its TypeScript."""

    source: str
    version: str
    folders: dict[str, str]


def read(wheel: Path) -> Sources:
    """Open the wheel's inner npm package. ValueError where it names no provider."""
    with zipfile.ZipFile(wheel) as archive:
        (inner,) = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        package = io.BytesIO(archive.read(inner))
    folders: dict[str, list[str]] = defaultdict(list)
    readme = ""
    with tarfile.open(fileobj=package, mode="r:gz") as files:
        for entry in files:
            parts = entry.name.split("/")
            wanted = len(parts) >= 4 and parts[1] == "lib" and parts[-1].endswith(".js")
            if not wanted and entry.name != "package/README.md":
                continue
            opened = files.extractfile(entry)
            text = opened.read().decode() if opened else ""
            if wanted:
                folders[parts[2]].append(_typescript(text))
            else:
                readme = text
    found = _SAYS.search(readme)
    if found is None:
        raise ValueError(f"{wheel.name} does not say which provider it binds")
    return Sources(found[1], found[2], {name: "\n".join(texts) for name, texts in folders.items()})


def _typescript(compiled: str) -> str:
    """What was compiled, comments included; empty where the file has no map."""
    _, found, encoded = compiled.rpartition("sourceMappingURL=data:application/json;base64,")
    if not found:
        return ""
    return "\n".join(text or "" for text in json.loads(base64.b64decode(encoded)).get("sourcesContent") or ())
