"""Connector name -> Source. Each kind is imported when a project uses it: a cold alert on SQLite loads nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.errors import ConfigInvalid
from core.ports import Secrets
from core.source.base import Source

if TYPE_CHECKING:
    from core.source.auth import Auth
    from core.source.spec import ConnectorSpec
    from core.wire import Wire

SECRET = "secret:"  # noqa: S105 (a prefix, no password)
BUILT_IN = Path(__file__).resolve().parent.parent / "connectors"


class SourceConfig(Protocol):
    """One entry under ``sources:``. Environment references are resolved; ``secret:NAME`` texts are still references.

    ``place``: "omni.yaml:5", for messages.
    """

    @property
    def connector(self) -> str: ...
    @property
    def options(self) -> Mapping[str, Any]: ...
    @property
    def place(self) -> str: ...


class WireMaker(Protocol):
    """A Wire, or a function that makes it when the first REST source is opened."""

    def __call__(self) -> Wire: ...


Build = Callable[[str, SourceConfig, Path, "Wire | WireMaker", Secrets], Source]


def build(name: str, config: SourceConfig, *, root: Path, wire: Wire | WireMaker, secrets: Secrets) -> Source:
    """Make the source ``name`` of a project in ``root``. No I/O beyond reading a connector's YAML.

    ``wire`` may be a function that returns one, so that a project without REST sources need not import HTTP.
    Raises ConfigInvalid with ``place`` for an unknown connector or option, or an option that cannot be right.
    """
    kind = _KINDS.get(config.connector)
    if kind is not None:
        return kind(name, config, root, wire, secrets)
    file = connector_files(root).get(config.connector)
    if file is None:
        known = known_connectors(root)
        raise ConfigInvalid(
            f"{config.place}: there is no connector {config.connector!r}{_near(config.connector, known)} "
            f"Known: {', '.join(known)}.",
            place=config.place,
            key="connector",
        )
    return _rest(name, config, file, wire)


def known_connectors(root: Path) -> list[str]:
    """All connectors that a project in ``root`` can name."""
    return sorted({*_KINDS, *connector_files(root)})


def connector_files(root: Path) -> dict[str, Path]:
    """``name -> connector.yaml`` of the built-in connectors and the project's own, which win."""
    found: dict[str, Path] = {}
    for folder in (BUILT_IN, root / "connectors"):
        found.update({file.parent.name: file for file in sorted(folder.glob("*/connector.yaml"))})
    return found


# ── the kinds ────────────────────────────────────────────────────────────────────────────────────────────────────


def _sqlite(name: str, config: SourceConfig, root: Path, wire: Wire | WireMaker, secrets: Secrets) -> Source:
    from core.source.sqlite import SqliteSource, locate

    options = _options(config, required=("url",))
    url = str(options["url"])
    if not url.startswith(SECRET):
        path = locate(url, root, config.place)
        return SqliteSource(name, lambda: path)
    return SqliteSource(name, lambda: locate(secrets.get(url[len(SECRET) :]), root, config.place), secret=url)


def _postgres(name: str, config: SourceConfig, root: Path, wire: Wire | WireMaker, secrets: Secrets) -> Source:
    from core.source.sql import PostgresSource, check_url

    options = _options(config, required=("url",), optional=("password",))
    url, password = str(options["url"]), options.get("password")
    if not url.startswith(SECRET):
        check_url(url, config.place)
    if password is not None:
        _reference(config, "password")

    def address() -> tuple[str, str | None]:
        text = secrets.get(url[len(SECRET) :]).strip() if url.startswith(SECRET) else url
        return text, secrets.get(password[len(SECRET) :]) if password is not None else None

    return PostgresSource(name, address, place=config.place)


def _files(name: str, config: SourceConfig, root: Path, wire: Wire | WireMaker, secrets: Secrets) -> Source:
    from core.source.files import FilesSource

    options = _options(config, required=("path",), optional=("delimiter",))
    path = Path(str(options["path"])).expanduser()
    return FilesSource(name, path if path.is_absolute() else root / path, delimiter=options.get("delimiter"))


def _rest(name: str, config: SourceConfig, file: Path, wire: Wire | WireMaker) -> Source:
    from core.source.pages import RestSource
    from core.source.spec import load

    spec = load(file)
    extra = [o for o in (spec.auth.option, spec.auth.user_option) if o]
    options = _options(config, required=(), optional=("base_url", *extra))
    base_url = str(options.get("base_url") or spec.base_url)
    if not base_url.startswith(("https://", "http://")) or "?" in base_url:
        raise ConfigInvalid(
            f"{config.place}: base_url has to look like https://api.example.com.", place=config.place, key="base_url"
        )
    ready = wire() if callable(wire) else wire
    return RestSource(name, spec, ready, base_url=base_url, auth=_auth(spec, config, options))


def _auth(spec: ConnectorSpec, config: SourceConfig, options: Mapping[str, Any]) -> Auth | None:
    from core.source.auth import Auth

    given = options.get(spec.auth.option) if spec.auth.option else None
    if spec.auth.style == "none" or given in (None, ""):
        return None
    _reference(config, spec.auth.option)
    user = str(options.get(spec.auth.user_option, "")) if spec.auth.user_option else ""
    return Auth(spec.auth.style, str(given)[len(SECRET) :], spec.auth.parameter, user, spec.auth.template)


_KINDS: dict[str, Build] = {"sqlite": _sqlite, "postgres": _postgres, "files": _files}


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _options(config: SourceConfig, *, required: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, Any]:
    known = (*required, *optional)
    for key in config.options:
        if key not in known:
            raise ConfigInvalid(
                f"{config.place}: connector {config.connector} has no option {key}{_near(key, known)} "
                f"Known: {', '.join(known)}.",
                place=config.place,
                key=key,
            )
    for key in required:
        if config.options.get(key) in (None, ""):
            raise ConfigInvalid(
                f"{config.place}: connector {config.connector} needs the option {key}.", place=config.place, key=key
            )
    return config.options


def _reference(config: SourceConfig, key: str) -> None:
    """The option has to be ``secret:NAME``; its value is not repeated, for it may be the secret itself."""
    text = config.options.get(key)
    if not isinstance(text, str) or not text.startswith(SECRET) or len(text) == len(SECRET):
        raise ConfigInvalid(
            f"{config.place}: {key} has to be a reference such as secret:{config.connector}_{key}, "
            "never the secret itself.",
            place=config.place,
            key=key,
        )


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else "."
