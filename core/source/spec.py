"""A connector, compiled: frozen dataclasses that ``rest`` interprets.

A connector is data: which paths there are, what their items' columns are called, what the API can filter and how
its pages follow one another. ``spec_yaml`` reads and validates it; what came of that may lie beside it as JSON, so that
a cold start needs neither YAML nor pydantic.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from core.model import Column, Faith, Operator, Table

Type = Literal["BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMPTZ", "JSON"]
Style = Literal["none", "link", "page", "offset", "cursor"]
FILTERABLE: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=", "in")
COMPILED = "connector.json"
"""Beside ``connector.yaml``: ``{"of": sha256 of the YAML, "spec": ...}``, made by bundling."""


# ── what a connector is, compiled ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Filter:
    """How one operator on one column is sent. ``param``: the query parameter; '' where the path takes the value.

    ``values``: the only values that may be sent (others stay in the engine). ``back_s``: seconds that a lower time
    bound is moved back, for APIs whose bound excludes the instant itself. ``each``: ``in`` as one chain a value.
    """

    param: str
    faith: Faith
    values: frozenset[str] = frozenset()
    back_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One column: where its value is in an item (``path``), or which path placeholder it echoes (``from_path``)."""

    name: str
    type: Type
    path: tuple[str, ...]
    optional: bool
    from_path: bool
    whole: bool
    filters: Mapping[Operator, Filter] = field(default_factory=dict)
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """One way to read a table: a path template, the columns its placeholders need, and what the answer is."""

    path: str
    keys: tuple[str, ...]
    rows: tuple[str, ...]
    single: bool
    paging: Paging
    missing: Literal["error", "no_rows"]


@dataclass(frozen=True, slots=True)
class Paging:
    style: Style
    size_param: str = ""
    size: int = 100
    page_param: str = "page"
    first_page: int = 1
    offset_param: str = "offset"
    cursor_param: str = "cursor"
    cursor: tuple[str, ...] = ()
    total: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableSpec:
    name: str
    doc: str
    reads: tuple[Read, ...]
    params: Mapping[str, str]
    fields: tuple[FieldSpec, ...]
    patterns: Mapping[str, re.Pattern[str]]

    def table(self, source: str) -> Table:
        """The table as the query path sees it."""
        needed = set.intersection(*(set(r.keys) for r in self.reads))
        columns = tuple(
            Column(
                f.name,
                f.type,
                {op: flt.faith for op, flt in f.filters.items()},
                required=f.name in needed,
                hidden=f.whole,
                doc=f.doc,
            )
            for f in self.fields
        )
        return Table(source, self.name, columns, self.doc)


@dataclass(frozen=True, slots=True)
class AuthSpec:
    style: Literal["none", "bearer", "header", "basic", "query"]
    option: str = ""
    parameter: str = ""
    user_option: str = ""
    template: str = "{secret}"


@dataclass(frozen=True, slots=True)
class ConnectorSpec:
    """A whole connector. ``file`` is where it was read, for messages."""

    name: str
    version: str
    base_url: str
    headers: Mapping[str, str]
    auth: AuthSpec
    tables: Mapping[str, TableSpec]
    file: Path

    def table(self, name: str) -> TableSpec | None:
        wanted = name.lower()
        return next((t for t in self.tables.values() if t.name.lower() == wanted), None)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────


def load(file: Path) -> ConnectorSpec:
    """The connector of a ``connector.yaml``, compiled beforehand where that is of this very YAML.

    ConfigInvalid names the file, the line and the key.
    """
    beside = file.with_name(COMPILED)
    if beside.is_file():
        import orjson

        kept = orjson.loads(beside.read_bytes())
        if kept["of"] == hashlib.sha256(file.read_bytes()).hexdigest():
            return _decoded(kept["spec"], file)
    from core.source import spec_yaml

    return spec_yaml.read(file)


def compiled(file: Path) -> bytes:
    """What ``load`` takes from beside ``file``. Raises ConfigInvalid as it does."""
    import orjson

    spec = asdict(load(file))
    for table in spec["tables"].values():
        table["patterns"] = {name: pattern.pattern for name, pattern in table["patterns"].items()}
    del spec["file"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return orjson.dumps({"of": digest, "spec": spec}, default=sorted)


def _decoded(kept: dict[str, Any], file: Path) -> ConnectorSpec:
    tables = {name: _table(table) for name, table in kept["tables"].items()}
    return ConnectorSpec(**{**kept, "auth": AuthSpec(**kept["auth"]), "tables": tables, "file": file})


def _table(kept: dict[str, Any]) -> TableSpec:
    return TableSpec(**{
        **kept,
        "reads": tuple(_read(one) for one in kept["reads"]),
        "fields": tuple(_field(one) for one in kept["fields"]),
        "patterns": {name: re.compile(text) for name, text in kept["patterns"].items()},
    })  # fmt: skip


def _read(kept: dict[str, Any]) -> Read:
    paging = {**kept["paging"], "cursor": tuple(kept["paging"]["cursor"]), "total": tuple(kept["paging"]["total"])}
    return Read(**{**kept, "keys": tuple(kept["keys"]), "rows": tuple(kept["rows"]), "paging": Paging(**paging)})


def _field(kept: dict[str, Any]) -> FieldSpec:
    filters = {
        operator: Filter(**{**one, "values": frozenset(one["values"])}) for operator, one in kept["filters"].items()
    }
    return FieldSpec(**{**kept, "path": tuple(kept["path"]), "filters": filters})
