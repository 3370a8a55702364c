"""The schema of ``connector.yaml``, validated by pydantic and compiled to frozen dataclasses.

A connector is data: which paths there are, what their items' columns are called, what the API can filter and how
its pages follow one another. ``rest`` interprets it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from core import yaml_places
from core.errors import ConfigInvalid
from core.model import Column, Faith, Operator, Table

Type = Literal["BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMPTZ", "JSON"]
Style = Literal["none", "link", "page", "offset", "cursor"]
FILTERABLE: tuple[Operator, ...] = ("=", "!=", "<", "<=", ">", ">=", "in")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


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


# ── the YAML document ────────────────────────────────────────────────────────────────────────────────────────────


class _Doc(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FilterDoc(_Doc):
    param: str = ""
    exact: bool = False
    values: list[str] = []
    back: Annotated[float, Field(ge=0)] = 0.0


def _short(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class ColumnDoc(_Doc):
    type: Type
    path: str | None = None
    optional: bool = False
    pattern: str | None = None
    filter: dict[Operator, FilterDoc] = {}
    doc: str = ""


class PagingDoc(_Doc):
    style: Style = "none"
    size_param: str = ""
    size: Annotated[int, Field(ge=1, le=1000)] = 100
    page_param: str = "page"
    first_page: int = 1
    offset_param: str = "offset"
    cursor_param: str = "cursor"
    cursor: str = ""
    total: str = ""

    @model_validator(mode="after")
    def _whole(self) -> PagingDoc:
        if self.style == "cursor" and not self.cursor:
            raise ValueError("a cursor style needs `cursor`, the path of the next cursor in the body")
        if self.style == "offset" and not self.size_param:
            raise ValueError("an offset style needs `size_param`")
        return self


class ReadDoc(_Doc):
    path: str
    rows: str = ""
    single: bool = False
    paging: PagingDoc | None = None
    missing: Literal["error", "no_rows"] = "error"


class TableDoc(_Doc):
    doc: str = ""
    read: Annotated[list[ReadDoc], BeforeValidator(lambda v: v if isinstance(v, list) else [v]), Field(min_length=1)]
    params: dict[str, str] = {}
    columns: dict[str, Annotated[ColumnDoc, BeforeValidator(_short)]]

    @field_validator("columns")
    @classmethod
    def _no_raw(cls, columns: dict[str, ColumnDoc]) -> dict[str, ColumnDoc]:
        if "_raw" in columns:
            raise ValueError("`_raw` is added to every table and cannot be declared")
        if len({c.lower() for c in columns}) != len(columns):
            raise ValueError("two columns differ in case only")
        return columns


class AuthDoc(_Doc):
    style: Literal["none", "bearer", "header", "basic", "query"] = "none"
    option: str = ""
    parameter: str = ""
    user_option: str = ""
    template: str = "{secret}"


class ConnectorDoc(_Doc):
    version: str
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    doc: str = ""
    base_url: str
    headers: dict[str, str] = {}
    auth: AuthDoc = AuthDoc()
    paging: PagingDoc = PagingDoc()
    tables: Annotated[dict[str, TableDoc], Field(min_length=1)]


# ── reading and compiling ────────────────────────────────────────────────────────────────────────────────────────


def load(file: Path) -> ConnectorSpec:
    """Read one connector.yaml; ConfigInvalid names the file, the line and the key."""
    try:
        data, places = yaml_places.load(file.read_bytes(), str(file))
    except OSError as err:
        raise ConfigInvalid(f"{file} cannot be read: {type(err).__name__}.", file=str(file)) from None
    try:
        doc = ConnectorDoc.model_validate(data)
    except ValidationError as err:
        raise yaml_places.invalid(err, str(file), places, ConnectorDoc) from None
    tables = {name: _table(name, t, doc, file, places) for name, t in doc.tables.items()}
    auth = AuthSpec(**doc.auth.model_dump())
    return ConnectorSpec(doc.name, doc.version, doc.base_url.rstrip("/"), doc.headers, auth, tables, file)


def _table(name: str, doc: TableDoc, connector: ConnectorDoc, file: Path, places: yaml_places.Places) -> TableSpec:
    reads = tuple(_read(r, r.paging or connector.paging) for r in doc.read)
    keys = {k for r in reads for k in r.keys}
    for key in sorted(keys - set(doc.columns)):
        line = places.line(("tables", name, "read"))
        raise ConfigInvalid(
            f"{file}:{line}: the path of {name} needs {{{key}}}, but there is no column of that name.",
            file=str(file),
            line=line,
            key=key,
        )
    fields = [_field(n, c, keys, bool(_echoed(n, reads) and c.path is None)) for n, c in doc.columns.items()]
    fields.append(FieldSpec("_raw", "JSON", (), True, False, True, doc="The whole item."))
    patterns = {n: re.compile(c.pattern) for n, c in doc.columns.items() if c.pattern}
    return TableSpec(name, doc.doc, reads, doc.params, tuple(fields), patterns)


def _echoed(column: str, reads: tuple[Read, ...]) -> bool:
    return any(column in r.keys for r in reads)


def _read(doc: ReadDoc, paging: PagingDoc) -> Read:
    values = paging.model_dump()
    values["cursor"], values["total"] = _steps(paging.cursor), _steps(paging.total)
    return Read(
        doc.path,
        tuple(dict.fromkeys(_PLACEHOLDER.findall(doc.path))),
        _steps(doc.rows),
        doc.single,
        Paging("none") if doc.single else Paging(**values),
        doc.missing,
    )


def _field(name: str, doc: ColumnDoc, keys: set[str], echoed: bool) -> FieldSpec:
    filters: dict[Operator, Filter] = {
        op: Filter(f.param, "exact" if f.exact else "superset", frozenset(f.values), f.back)
        for op, f in doc.filter.items()
    }
    if name in keys:
        faith: Faith = "exact" if echoed else "superset"
        filters = {"=": Filter("", faith), "in": Filter("", faith), **filters}
    return FieldSpec(name, doc.type, _steps(doc.path or name), doc.optional, echoed, False, filters, doc.doc)


def _steps(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".") if part)
