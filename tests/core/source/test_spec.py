"""connector.yaml: what is wrong in it is told with file, line and key."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConfigInvalid
from core.source.registry import BUILT_IN
from core.source.spec import ConnectorSpec, compiled, load

GOOD = """\
version: "1"
name: shop
base_url: https://api.example.com/v1/
auth: {style: bearer, option: token}
paging: {style: page, size_param: size}
tables:
  orders:
    read: {path: "/stores/{store}/orders"}
    columns:
      store: VARCHAR
      id: {type: BIGINT, filter: {"=": {param: id, exact: true}}}
      customer_name: {type: VARCHAR, path: customer.name, optional: true, doc: as on the invoice}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "connector.yaml"
    file.write_text(text)
    return file


def test_what_a_connector_becomes(tmp_path: Path) -> None:
    spec = load(written(tmp_path, GOOD))
    assert (spec.name, spec.base_url, spec.auth.style) == ("shop", "https://api.example.com/v1", "bearer")
    found = spec.table("ORDERS")
    assert found is not None
    table = found.table("mine")
    assert [(c.name, c.required, c.hidden, dict(c.operators)) for c in table.columns] == [
        ("store", True, False, {"=": "exact", "in": "exact"}),
        ("id", False, False, {"=": "exact"}),
        ("customer_name", False, False, {}),
        ("_raw", False, True, {}),
    ]
    assert [c.doc for c in table.columns] == ["", "", "as on the invoice", "The whole item."]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("base_url:", "bas_url:", 3, "unknown key 'bas_url'; did you mean 'base_url'"),
        ("param: id", "parm: id", 11, "did you mean 'param'"),
        ("type: BIGINT", "type: INT", 11, "BIGINT"),
        ("style: page", "style: pages", 5, "link"),
        ('"=":', '"~":', 11, "filter"),
        ("name: shop", "name: My Shop", 2, "name"),
        ('version: "1"', "", 2, "version"),
        ("      store: VARCHAR\n", "", 8, "needs {store}, but there is no column"),
        ("      id:", "      STORE: VARCHAR\n      id:", 9, "differ in case only"),
        ("      id:", "      _raw: JSON\n      id:", 9, "_raw"),
        ("style: page", "style: cursor", 5, "cursor"),
        ("name: shop", "name: shop\nname: shop", 3, "twice"),
        ("name: shop", "name: [shop", 3, "not valid YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    file = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigInvalid) as caught:
        load(file)
    assert words in str(caught.value) and f"connector.yaml:{line}" in str(caught.value), str(caught.value)


def test_every_built_in_connector_loads() -> None:
    files = sorted(BUILT_IN.glob("*/connector.yaml"))
    assert files
    for file in files:
        spec = load(file)
        assert spec.name == file.parent.name
        assert (file.parent / "README.md").exists(), "a connector explains itself"


@pytest.mark.parametrize("file", sorted(BUILT_IN.glob("*/connector.yaml")), ids=lambda f: f.parent.name)
def test_what_is_compiled_beforehand_is_the_same(tmp_path: Path, file: Path) -> None:
    copy = written(tmp_path, file.read_text())
    whole = load(copy)
    copy.with_name("connector.json").write_bytes(compiled(copy))
    again = load(copy)
    assert again == whole and _text(again) == _text(whole), "of the same types as well"
    assert [*again.tables] == [*whole.tables], "in the YAML's order"


def _text(spec: ConnectorSpec) -> str:
    """A set is written in another order each time."""
    return re.sub(r"frozenset\(\{(.*?)\}\)", lambda found: str(sorted(found[1].split(", "))), repr(spec))


def test_what_was_compiled_of_another_text_is_not_used(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    file.with_name("connector.json").write_bytes(compiled(file))
    assert load(file).version == "1"
    file.write_text(GOOD.replace('version: "1"', 'version: "2"'))
    assert load(file).version == "2"


def test_compiled_needs_neither_yaml_nor_pydantic(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    file.with_name("connector.json").write_bytes(compiled(file))
    code = (
        "import sys; from pathlib import Path; from core.source.spec import load; "
        f"load(Path({str(file)!r})); print({{'yaml', 'pydantic'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
