"""The schema of ``connector.yaml``: validated by pydantic, compiled to the dataclasses of ``spec``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from core import yaml_places
from core.errors import ConfigInvalid
from core.model import Faith, Operator
from core.source.spec import AuthSpec, ConnectorSpec, FieldSpec, Filter, Paging, Read, Style, TableSpec, Type

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


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


def read(file: Path) -> ConnectorSpec:
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
