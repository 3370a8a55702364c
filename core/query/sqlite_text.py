"""How a query that means the same in SQLite is written there: columns as what they declare, dates as texts."""

from __future__ import annotations

from sqlglot import exp

from core.query.asked import parameter
from core.query.moments import asked_of, constant_moment
from core.query.portable import COLUMN_KINDS

_ISO_DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_ISO_MOMENT = f"{_ISO_DAY} [0-9][0-9]:[0-9][0-9]:[0-9][0-9]"


def guarded(column: exp.Column, column_type: str) -> exp.Expr:
    """The column as its declared type: numbers and texts as they are, dates and moments as ISO text, else an error.

    ISO texts of one form sort and compare as what they mean. The functions omni_* (registered on every connection by
    the SQLite source) see only values of another form, for a function of ours costs much more than one of SQLite's.
    """
    kind = COLUMN_KINDS.get(column_type.upper(), "")
    if kind == "date":
        return _canonical(column, _ISO_DAY, "date", "omni_date")
    if kind == "moment":
        return _canonical(column, _ISO_MOMENT, "datetime", "omni_timestamp")
    stored = {"int": ("integer",), "float": ("real", "integer"), "text": ("text",)}.get(kind)
    if stored is None:
        return column
    names = [exp.Literal.string(s) for s in (*stored, "null")]
    fits = exp.In(this=exp.Anonymous(this="typeof", expressions=[column]), expressions=names)
    value: exp.Expr = column.copy()
    if kind == "float":
        value = exp.cast(value, "REAL", dialect="sqlite")
    misfit = exp.Anonymous(this="omni_misfit", expressions=[exp.Literal.string(column.name)])
    case = exp.Case().when(fits, value)
    if kind == "text":
        # A column without text affinity may hold numbers: they leave as their text, as in a scan.
        numbers = [exp.Literal.string("integer"), exp.Literal.string("real")]
        is_number = exp.In(this=exp.Anonymous(this="typeof", expressions=[column.copy()]), expressions=numbers)
        case = case.when(is_number, exp.cast(column.copy(), "TEXT", dialect="sqlite"))
    return case.else_(misfit)


def _canonical(column: exp.Column, pattern: str, check: str, convert: str) -> exp.Expr:
    """The text itself where it has the one form and is a real date; what ``convert`` makes of it otherwise."""
    form = exp.Glob(this=column.copy(), expression=exp.Literal.string(pattern))
    same = exp.EQ(this=exp.Anonymous(this=check, expressions=[column.copy()]), expression=column.copy())
    other = exp.Anonymous(this=convert, expressions=[column.copy()])
    return exp.Case().when(exp.and_(form, same), column.copy()).else_(other)


def translate(tree: exp.Query) -> list[str]:
    """Rewrite date and timestamp constants as the texts that ``guarded`` compares.

    Returns the names of the parameters that stand for the time of asking.
    """
    asked: list[str] = []
    for node in list(tree.find_all(exp.Cast, exp.Add, exp.Sub, exp.Paren)):
        outer = node.parent
        moment = constant_moment(node)
        if outer is None or moment is None or constant_moment(outer) is not None:
            continue
        if moment.asked:
            name = parameter(*asked_of(moment))
            asked.append(name)
            node.replace(exp.Placeholder(this=name))
        else:
            node.replace(exp.Literal.string(moment.iso()))
    return sorted(set(asked))
