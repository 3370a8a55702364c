"""The terraform binary as a child process: what it is asked, and what its errors mean."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ConfigInvalid, Error, SourceAuth, SourceError, StateConflict
from infra.deploy import child

LEAST = (1, 9)
_VERSION_S = 30
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_SHOWN = 900
_PLACE = re.compile(r"^[^:]*\bon \S+ line \d+")
_OBJECT = re.compile(r"\bwith \S+, on \S+ line \d+")
"""An error of a resource or a provider, which the cloud may have answered; one of the language has only its place."""
_LANGUAGE = re.compile(
    r"Unsupported |Missing |Invalid |Reference to undeclared |Duplicate |Unclosed |Extra |Unreadable module directory|"
    r"Module not found|Cycle: |Insufficient |Too many |Conflicting |Incorrect attribute value type|"
    r"Backend configuration",
)
_ANSWERED = re.compile(
    r"https response error|StatusCode|status code|unexpected status|googleapi: |RESPONSE \d|api error|RequestID|"
    r"provisioner error|credential", re.IGNORECASE,
)  # fmt: skip
_FRAME = re.compile(r"^[╷│╵]\s?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Terraform:
    """Commands in ``folder``, a root module. Each command's whole output is added to ``log``.

    What Terraform prints of a plan has the values of variables: the log is for nobody else to read.
    """

    folder: Path
    log: Path

    def begin(self, run: str) -> None:
        """Start the log anew for ``run``, where it is not that one's already; the one before it stays as .old."""
        first = f"# run {run}\n"
        try:
            with self.log.open(encoding="utf-8") as log:
                if log.readline() == first:
                    return
            self.log.replace(self.log.with_name(f"{self.log.name}.old"))
        except FileNotFoundError:
            self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log(first)

    def _log(self, text: str) -> None:
        handle = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "a", encoding="utf-8") as log:
            os.fchmod(handle, 0o600)  # one of before was for everybody
            log.write(text)

    def init(self) -> None:
        """Download providers and modules; the lock file is kept as it is."""
        self._run("init", "-input=false", "-no-color")

    def plan(self, file: Path, variables: Mapping[str, str]) -> dict[str, Any]:
        """Write a plan to ``file``, for nobody else to read; returns it as Terraform's JSON."""
        given = [f"-var={name}={value}" for name, value in variables.items()]
        self._run("plan", "-input=false", "-no-color", f"-out={file}", *given)
        file.chmod(0o600)
        return self.show(file)

    def show(self, file: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._run("show", "-json", "-no-color", str(file), quiet=True))
        return found

    def apply(self, file: Path) -> None:
        """Carry out a plan, and nothing but it: Terraform refuses one that the state has moved away from."""
        self._run("apply", "-input=false", "-no-color", str(file), shown=True)

    def outputs(self) -> dict[str, Any]:
        """The root module's outputs; sensitive ones left out. Empty before the first apply."""
        found = json.loads(self._run("output", "-json", "-no-color", quiet=True))
        return {name: one["value"] for name, one in found.items() if not one.get("sensitive")}

    def resources(self) -> list[str]:
        """Addresses of what the state has, without what is only read. Empty before the first apply."""
        try:
            listed = self._run("state", "list", quiet=True).splitlines()
        except NoState:
            return []
        return [address for address in listed if not re.match(r"(module\.[^.]+\.)*data\.", address)]

    def _run(self, *arguments: str, quiet: bool = False, shown: bool = False) -> str:
        """Run to the end, also when we are interrupted: Terraform stops well and keeps its state by itself.

        ``quiet``: what it says may be secret, and goes into no file.
        """
        command = [str(find()), *arguments]
        env = {**os.environ, "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
        if quiet:
            told = subprocess.run(  # noqa: S603 (our own arguments)
                command, cwd=self.folder, env=env, text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
            ended = child.Ended(told.returncode, told.stdout, told.stderr, interrupted=False)
        else:
            ended = child.run(command, self.folder, env, self.log.parent, shown=shown)
            self._log(f"$ terraform {' '.join(arguments)}\n{ended.out}{ended.err}\n")
        if ended.code != 0 and ended.interrupted:
            raise Interrupted(
                f"terraform {arguments[0]} was interrupted; what it had done is in its state. Run the same command "
                f"again to go on. The whole output is in {self.log}.", file=str(self.log),
            )  # fmt: skip
        if ended.code != 0:
            raise explained(ended.err or ended.out, arguments[0], self.log)
        return ended.out


class Interrupted(SourceError):
    """We were told to stop, and Terraform stopped."""


class NotInitialized(ConfigInvalid):
    """The folder has no providers, modules or backend yet, as after a fresh checkout."""


class NoState(ConfigInvalid):
    """Nothing was ever applied in the folder."""


def find() -> Path:
    """The terraform on PATH. Raises ConfigInvalid where there is none, or one that is too old."""
    binary = shutil.which("terraform")
    if binary is None:
        raise ConfigInvalid("There is no `terraform` on PATH. Install Terraform 1.9 or later.", key="terraform")
    told = subprocess.run(  # noqa: S603 (our own arguments)
        [binary, "version", "-json"], capture_output=True, text=True, timeout=_VERSION_S, check=False
    )
    found = re.search(r'"terraform_version":\s*"(\d+)\.(\d+)', told.stdout)
    if found is None or (int(found[1]), int(found[2])) < LEAST:
        raise ConfigInvalid(
            f"{binary} is not Terraform {LEAST[0]}.{LEAST[1]} or later: {told.stdout.strip()[:100]}", key="terraform"
        )
    return Path(binary)


def explained(text: str, command: str, log: Path) -> Error:
    """What Terraform's error output means to who runs ``omni deploy``."""
    plain = _FRAME.sub("", _ESCAPES.sub("", text))
    flat = " ".join(plain.split())  # Terraform wraps its lines
    for pattern, make in _MEANINGS:
        found = re.search(pattern, flat, re.IGNORECASE)
        if found:
            return make(found, plain, log)
    blocks = _blocks(plain)
    shown = " / ".join(_cut(block) for block in blocks[:3])
    if blocks and all(_of_the_files(block) for block in blocks):
        place = re.search(r"\bon (\S+) line (\d+)", blocks[0])
        return ConfigInvalid(
            f"terraform {command} refuses the files of the root module: {shown} The whole output is in {log}.",
            file=place[1] if place else str(log), line=int(place[2]) if place else None,
        )  # fmt: skip
    return SourceError(
        f"terraform {command} failed: {shown or _cut(flat)} The whole output is in {log}.", file=str(log)
    )


def _blocks(plain: str) -> list[str]:
    """Each error on one line, without the one that only announces the others."""
    found = [" ".join(block.split()) for block in re.split(r"(?m)^Error: ", plain)[1:]]
    return [block for block in found if not block.startswith("Terraform encountered problems")] or found


def _cut(block: str) -> str:
    """The beginning and the end of a long one: what a command said at last is the reason why it failed."""
    return block if len(block) <= _SHOWN else f"{block[: _SHOWN // 3]} ... {block[-_SHOWN * 2 // 3 :]}"


def _of_the_files(block: str) -> bool:
    """Whether an error is a mistake in Terraform's language or in an argument, and not what a cloud answered."""
    if _ANSWERED.search(block):
        return False
    return bool(_LANGUAGE.match(block)) or (bool(_PLACE.search(block)) and not _OBJECT.search(block))


def _locked(found: re.Match[str], plain: str, _log: Path) -> Error:
    facts = dict(re.findall(r"(?m)^\s*(ID|Who|Created|Operation):\s+(.+)$", plain))
    return StateConflict(
        f"The state is locked by {facts.get('Who', 'another run')} since {facts.get('Created', '?')} "
        f"({facts.get('Operation', '?')}). Wait for it; where it has died, "
        f"`terraform force-unlock {facts.get('ID', 'ID')}` in the same folder.",
        lock=facts.get("ID"), who=facts.get("Who"),
    )  # fmt: skip


def _unlockable(_found: re.Match[str], plain: str, log: Path) -> Error:
    """No other run: Terraform could not write its lock."""
    said = plain.partition("Error message:")[2].partition("Terraform acquires")[0]
    reason = " ".join(said.split()) or " ".join(plain.split())
    told = f"Terraform could not lock the state: {_cut(reason).rstrip('.')}."
    if re.search(r"permission denied|not permitted|read-only file system|is a directory|no such file", reason, re.I):
        return ConfigInvalid(
            f"{told} See that the root module's folder can be written, and who it belongs to.", file=str(log)
        )
    if re.search(r"access ?denied|forbidden|unauthorized|\b40[13]\b|credential", reason, re.I):
        return SourceAuth(f"{told} Your identity has to be allowed to write the state and its lock.", file=str(log))
    return SourceError(f"{told} The whole output is in {log}.", file=str(log))


def _denied(found: re.Match[str], _plain: str, log: Path) -> Error:
    action = found.group("action")
    return SourceAuth(
        f"The cloud refuses the deployment: your identity needs {action}. The whole output is in {log}.",
        permission=action, file=str(log),
    )  # fmt: skip


def _variable(_found: re.Match[str], plain: str, _log: Path) -> Error:
    """The module's own sentence: the lines above the one that says which rule was checked."""
    name = re.search(r"var\.(\w+)", plain) or re.search(r"variable \"(\w+)\"", plain)
    lines: list[str] = []
    _, _, rest = plain.partition("Invalid value for variable")
    for line in rest.splitlines():
        if line.startswith("This was checked"):
            break
        if line.strip() and line[0] in "│├ ":
            lines = []  # what Terraform quotes comes before the sentence
        else:
            lines.append(line.strip())
    text = " ".join(" ".join(lines).split()) or " ".join(rest.split())[:400]
    return ConfigInvalid(f"Variable {name[1] if name else '?'}: {text}", key=name[1] if name else None)


def _condition(_found: re.Match[str], plain: str, _log: Path) -> Error:
    """The module's own sentences, each once: they name what is wrong."""
    said: dict[str, None] = {}
    for block in re.split(r"(?m)^Error: ", plain)[1:]:
        lines: list[str] = []
        for line in block.splitlines()[1:]:
            if line.strip() and line[0] in "│├ ":
                lines = []
            else:
                lines.append(line.strip())
        said[" ".join(" ".join(lines).split())] = None
    return ConfigInvalid(" / ".join(text for text in said if text) or "A condition of the module does not hold.")


def _unset(_found: re.Match[str], plain: str, _log: Path) -> Error:
    names = list(dict.fromkeys(re.findall(r'variable "([^"]+)"', plain)))
    return ConfigInvalid(
        f"Set {', '.join(names)} in terraform.tfvars, beside the root module's main.tf.", key="terraform.tfvars"
    )


_MEANINGS = (
    (r"Error acquiring the state lock.*Lock Info: ID: \S", _locked),
    (r"is not authorized to perform: (?P<action>[\w:.-]+)", _denied),
    (r"Permission ['\"](?P<action>[\w.]+)['\"] denied", _denied),
    (r"Required ['\"](?P<action>[\w.]+)['\"] permission", _denied),
    (r"does not have authorization to perform action '(?P<action>[\w./*]+)'", _denied),
    (
        r"no valid credential sources|could not find default credentials|no credentials loaded|"
        r"unable to build authorizer|please run 'az login'",
        lambda _f, _p, log: SourceAuth(f"Terraform has no credentials for this cloud: sign in first. See {log}."),
    ),
    (
        r"gcloud auth login|active account selected",
        lambda _f, _p, log: SourceAuth(
            f"gcloud is not signed in on this machine, and makes the images: `gcloud auth login`. See {log}."
        ),
    ),
    (r"Error acquiring the state lock", _unlockable),
    (
        r"no available releases match|does not match configured version constraint",
        lambda _f, plain, log: ConfigInvalid(
            "The provider's version is outside the range that the module was tested with: "
            f"{' '.join(plain.split())[:300]} See {log}.", key="required_providers",
        ),
    ),
    (
        r"required plugins are not installed|initialization required|module not installed|run .?terraform init",
        lambda _f, _p, _l: NotInitialized("Terraform is not initialized in this folder."),
    ),
    (r"Error: Invalid value for variable", _variable),
    (
        r"invalid aws region:? (?P<region>[\w-]+)",
        lambda found, _p, _l: ConfigInvalid(f"There is no AWS region {found['region']!r}.", key="region"),
    ),
    (
        r"Error: (?:Resource|Module|Module output value|Check block) (?:precondition|postcondition|assertion) failed",
        _condition,
    ),
    (
        r"No value for required variable",
        _unset,
    ),
    (r"No state file was found", lambda _f, _p, _l: NoState("Nothing was applied in this folder yet.")),
    (
        r"Saved plan is stale",
        lambda _f, _p, _l: StateConflict("The state has changed since the plan was made. Plan again."),
    ),
)  # fmt: skip
