"""``python -m tests.terraform.reference``: the tables of variables and outputs in each module's README, written anew.

They stand between ``<!-- variables -->`` or ``<!-- outputs -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.terraform.harness import MODULES

_BLOCK = r'(?ms)^{kind} "(\w+)" {{\n(.*?)^}}'


def tables(folder: Path) -> dict[str, str]:
    """kind -> table in Markdown."""
    return {"variables": _table(folder, "variable"), "outputs": _table(folder, "output")}


def written(readme: str, folder: Path) -> str:
    """The README with its tables as they have to be."""
    for kind, table in tables(folder).items():
        marked = rf"(?s)(<!-- {kind} -->\n).*?(<!-- end -->)"
        readme = re.sub(marked, lambda found, table=table: f"{found[1]}{table}{found[2]}", readme)
    return readme


def _table(folder: Path, kind: str) -> str:
    rows = []
    for name, body in re.findall(_BLOCK.format(kind=kind), (folder / f"{kind}s.tf").read_text("utf-8")):
        said = re.search(r'(?m)^  description\s*=\s*"(.*)"$', body)
        text = said[1].replace('\\"', '"').replace("$${", "${").replace("|", "\\|") if said else ""
        default = re.search(r"(?m)^  default\s*=\s*(.+)$", body)
        if kind == "variable":
            shown = "required" if default is None else f"`{default[1]}`" if default[1] != "{" else "see variables.tf"
            rows.append(f"| `{name}` | {text} | {shown} |")
        else:
            rows.append(f"| `{name}` | {text} |")
    head = "| name | what | default |\n|---|---|---|\n" if kind == "variable" else "| name | what |\n|---|---|\n"
    return head + "\n".join(rows) + "\n"


def main() -> int:
    for readme in sorted(MODULES.glob("*/README.md")):
        readme.write_text(written(readme.read_text("utf-8"), readme.parent), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
