"""Whether a project's data will be where its sources look for it, once the project lies in a cloud.

A function has nothing of this machine but what is bundled. What is left behind would be missed there only, by an alert
that runs unattended: so it is refused here, with the source and its place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid
from core.source.registry import SECRET
from core.source.sqlite import locate
from infra.contents import named

_OPTION = {"sqlite": "url", "files": "path"}
"""Connectors that read files, and the option that says which."""
_MOVE = "Move the data into the project's folder and name it relative to omni.yaml, or use a source on the network."


def whole(root: Path, sources: Mapping[str, Mapping[str, Any]], taken: Collection[str]) -> None:
    """``sources``: of a validated document. ``taken``: paths below ``root`` that are bundled.

    A reference such as ``${SHOP_URL}`` or ``secret:shop_url`` is left: only the cloud knows what it means there.
    Raises ConfigInvalid naming every source whose data would be missing, its place, and what to do.
    """
    found = list(_missing(root, sources, taken))
    if found:
        file, _, line = found[0][0].rpartition(":")
        raise ConfigInvalid(
            "\n".join(f"{place}: source {name!r}: {why}" for place, name, why in found),
            file=file, line=int(line), sources=[name for _, name, _ in found],
        )  # fmt: skip


def owners(root: Path, sources: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Path below ``root`` of a data file -> the source that reads it."""
    read = ((name, source["options"].get(_OPTION.get(source["connector"], ""))) for name, source in sources.items())
    return {path: name for name, text in read if isinstance(text, str) for path in named(root, text)}


def path_of(root: Path, source: Mapping[str, Any]) -> Path | None:
    """The file, folder or pattern that a source reads; None where it reads none, or a reference says which.

    Raises ConfigInvalid for a URL of SQLite that cannot be right.
    """
    text = source["options"].get(_OPTION.get(source["connector"], ""))
    if not isinstance(text, str) or "${" in text or text.startswith(SECRET):
        return None
    if source["connector"] == "sqlite":
        return locate(text, root, source["place"])
    path = Path(text).expanduser()
    return path if path.is_absolute() else root / path


def _missing(
    root: Path, sources: Mapping[str, Mapping[str, Any]], taken: Collection[str]
) -> Iterator[tuple[str, str, str]]:
    for name, source in sources.items():
        path = path_of(root, source)
        if path is not None and (why := _why(root, path, source, taken)):
            yield str(source["place"]), name, why


def _why(root: Path, path: Path, source: Mapping[str, Any], taken: Collection[str]) -> str | None:
    """What is wrong with a source's ``path``, and what to do; None where it is bundled."""
    text = str(source["options"][_OPTION[source["connector"]]])
    if Path(text.removeprefix("sqlite:///")).expanduser().is_absolute():
        return f"{text} is a place of this machine, which a cloud has not. {_MOVE}"
    if not path.resolve().is_relative_to(root.resolve()) or ".." in path.relative_to(root).parts:
        return f"{text} lies outside of the project's folder and is not bundled. {_MOVE}"
    if path.resolve() == root.resolve():
        return (
            f"{text!r} is the project's folder itself, which is not bundled as data: it may hold what must not leave "
            'this machine. Move the data into a folder of its own, or name it by a pattern such as "*.csv".'
        )
    wanted = path.relative_to(root).as_posix()
    if any(one in taken for one in named(root, text)):
        return None
    if not any(sign in wanted for sign in "*?[") and not path.exists():
        return f"there is no {wanted} in the project's folder to bundle. Put it there, or use a source on the network."
    return (
        f"nothing of {wanted} is bundled: it has no file, or none but what is never bundled (hidden files, keys, "
        "deploy/, Terraform's state). Put the data into a folder of its own."
    )
