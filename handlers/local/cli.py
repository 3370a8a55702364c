"""`omni`: reads the command line, calls the App, prints. What each command does stands in the cli_* modules.

Nothing heavy is imported before the command is known: a cold alert on SQLite has 0.12 s of CPU for everything.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from core.errors import ConfigInvalid, Error, Internal, ResourceLimit

Command = Callable[[argparse.Namespace], int]


class UsageError(ConfigInvalid):
    """The command line cannot be understood; ``usage`` is the right form."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(
            f"{message[:1].upper()}{message[1:].rstrip('.')}. `{self.prog} --help` shows how.", self.format_usage()
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 bad news asked for, 2 caller, 3 later, 4 ours."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 for the life of the process

    def command() -> int:
        options = parser().parse_args(arguments)
        chosen: Command = options.command_function
        return chosen(options)

    return run_safely(command, "--json" in arguments)


def run_safely(command: Callable[[], int], as_json: bool) -> int:
    """Run and report: whatever happens becomes an exit code and a clear sentence."""
    try:
        code = command()
        sys.stdout.flush()
        return code
    except Error as error:
        return report(error, as_json)
    except BrokenPipeError:
        # The reader of our answer has gone (`| head`): no error of ours. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
            return report(
                ConfigInvalid(f"No permission for {error.filename}: {error.strerror}.", file=str(error.filename)),
                as_json,
            )
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            return _defect(error, as_json)
        if error.filename:
            return report(ResourceLimit(f"{error.filename} cannot be written: {error.strerror}."), as_json)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return report(ResourceLimit(f"The answer cannot be written: {error.strerror}."), as_json)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201 (a command says it)
        return 130
    except Exception as error:  # noqa: BLE001 the one place where a defect of ours becomes a clear sentence
        return _defect(error, as_json)


def report(error: Error, as_json: bool) -> int:
    """Print an error on stderr; returns its exit code."""
    from core.request import new_id

    if as_json:
        print(json.dumps({"error": error.to_dict(new_id())}, ensure_ascii=False, default=str), file=sys.stderr)  # noqa: T201 (a command says it)
        return error.exit_code
    if isinstance(error, UsageError):
        print(error.usage.rstrip(), file=sys.stderr)  # noqa: T201 (a command says it)
    print(f"error: {error.code}: {error.message}", file=sys.stderr)  # noqa: T201 (a command says it)
    if error.retry_after_ms is not None:
        print(f"       try again in {error.retry_after_ms / 1000:.0f} s", file=sys.stderr)  # noqa: T201 (a command says it)
    return error.exit_code


def _defect(error: Exception, as_json: bool) -> int:
    import traceback

    if os.environ.get("OMNI_DEBUG"):
        traceback.print_exc()
    place = traceback.extract_tb(error.__traceback__)[-1]
    return report(
        Internal(
            f"omni failed ({type(error).__name__} at {os.path.basename(place.filename)}:{place.lineno}). "  # noqa: PTH119 (pathlib costs a cold alert more)
            "That is our defect. Set OMNI_DEBUG=1 to see where."
        ),
        as_json,
    )


# ── the grammar ──────────────────────────────────────────────────────────────────────────────────────────────────


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--project", metavar="DIR", default=argparse.SUPPRESS, help="folder of omni.yaml (default: nearest upward)"
    )
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    who = argparse.ArgumentParser(add_help=False)
    who.add_argument(
        "--as", dest="as_", metavar="NAME[,role=R][,team=T]", help="ask as this principal (default: OMNI_AS or local)"
    )

    root = Parser(
        prog="omni", description="Ask SQL across SaaS apps and databases, and watch the answers.", parents=[common]
    )
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def add(
        name: str, target: str, text: str, *, parents: Sequence[Any] = (), to: Any = commands
    ) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = to.add_parser(name, help=text, description=text, parents=[common, *parents])
        sub.set_defaults(command_function=_late(target))
        return sub

    _ask_commands(add, who)
    _alert_commands(add, commands, common)
    _project_commands(add, commands, common)
    return root


def _late(target: str) -> Command:
    """``module:function`` of this package, imported when it is called."""

    def call(options: argparse.Namespace) -> int:
        from importlib import import_module

        module, _, function = target.partition(":")
        command: Command = getattr(import_module(f"handlers.local.{module}"), function)
        return command(options)

    return call


def _ask_commands(add: Any, who: argparse.ArgumentParser) -> None:
    for name, text in (("ask", "Ask one SQL question."), ("explain", "Show what a question would call, and why.")):
        sub = add(name, f"cli_ask:{name}", text, parents=[who])
        sub.add_argument("sql", nargs="?", help="the SQL, or - for standard input")
        sub.add_argument("-f", "--file", help="read the SQL from a file")
        sub.add_argument("--param", action="append", default=[], metavar="K=V", help="a value for $K")
        sub.add_argument("--timeout", metavar="30s")
        sub.add_argument("--max-staleness", metavar="5m")
        sub.add_argument("--dialect", metavar="D", help="the SQL is in this database's own dialect")
        if name == "ask":
            sub.add_argument("--format", choices=["table", "json", "ndjson", "csv"])
            sub.add_argument("--limit", type=_count, metavar="N", help="show at most N rows")
            sub.add_argument("--async", dest="async_", action="store_true", help="answer later: print a job's id")
    sub = add("job", "cli_job:job", "The status of a job of yours, or its answer.", parents=[who])
    sub.add_argument("id", metavar="ID")
    sub.add_argument("--result", action="store_true", help="print the answer")
    add("work", "cli_job:work", "Do the jobs that wait on this machine's queue, once.")
    sub = add("tables", "cli_ask:tables", "List the tables you may read.", parents=[who])
    sub.add_argument("source", nargs="?")
    sub = add("describe", "cli_ask:describe", "Show the columns of a table.", parents=[who])
    sub.add_argument("table", metavar="SOURCE.TABLE")


def _alert_commands(add: Any, commands: Any, common: argparse.ArgumentParser) -> None:
    alert = commands.add_parser("alert", help="Alerts: run, look, silence.", parents=[common])
    actions = alert.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    add("list", "cli_alert:list_", "List all alerts.", to=actions)
    for name, text in (("show", "Show one alert: its rule and its state."), ("history", "What happened to an alert.")):
        sub = add(name, f"cli_alert:{name}", text, to=actions)
        sub.add_argument("name")
        if name == "history":
            sub.add_argument("--limit", type=_count, default=20, metavar="N")
    sub = add("status", "cli_alert:status", "States of alerts.", to=actions)
    sub.add_argument("name", nargs="?")
    sub = add("run", "cli_alert:run", "Judge an alert now and deliver what it owes.", to=actions)
    sub.add_argument("name", nargs="?")
    sub.add_argument("--all", action="store_true", help="every enabled alert")
    sub.add_argument("--slot", metavar="TIME", help="the scheduled time, such as 2026-01-31T09:00:00Z")
    sub.add_argument("--dry-run", action="store_true", help="write and send nothing")
    sub.add_argument(
        "--exit-status", action="store_true", help="exit 1 when the outcome is not OK or a message is dead"
    )
    sub = add("silence", "cli_alert:silence", "Hold an alert's messages for a while.", to=actions)
    sub.add_argument("name")
    sub.add_argument("--for", dest="for_", required=True, metavar="2h")
    sub.add_argument("--because", required=True, metavar="TEXT")
    sub = add("unsilence", "cli_alert:unsilence", "End a silence.", to=actions)
    sub.add_argument("name")
    sub = add("sweep", "cli_alert:sweep", "Deliver what is owed, run missed slots.")
    sub.add_argument("--exit-status", action="store_true", help="exit 1 when a message is dead")


def _project_commands(add: Any, commands: Any, common: argparse.ArgumentParser) -> None:
    sub = add("init", "cli_project:init", "Make a project that runs at once.")
    sub.add_argument("dir", metavar="DIR")
    sub = add("check", "cli_project:check", "Find everything that can be wrong in the project.")
    sub.add_argument("--online", action="store_true", help="also reach the sources and resolve the secrets")
    sub = add("audit", "cli_project:audit", "Show or verify the audit log.")
    sub.add_argument("--since", metavar="1d", help="a duration back from now, or a time")
    sub.add_argument("--verify", action="store_true", help="walk the chain; exit 1 when it is broken")
    sub.add_argument("--tenant", default="default")
    sub = add("bundle", "cli_project:bundle", "Make the function's zip for a cloud.")
    sub.add_argument("cloud", choices=["aws", "gcp", "azure"])
    sub.add_argument("--out", default="dist", metavar="DIR")
    sub.add_argument("--python", default=None, metavar="3.13", help="the function's Python")
    sub.add_argument("--parts", action="store_true", help="code and project apart, with the manifest for Terraform")
    sub = add("deploy", "cli_deploy:deploy", "Deploy the project with Terraform, look at it, or go back.")
    sub.add_argument("what", choices=["aws", "gcp", "azure", "status", "rollback"])
    sub.add_argument("cloud", nargs="?", choices=["aws", "gcp", "azure"], help="with status and rollback")
    sub.add_argument("--plan", action="store_true", help="show what would change, and stop (the default)")
    sub.add_argument("--apply", action="store_true", help="carry it out")
    sub.add_argument("--allow-data-loss", action="store_true", help="apply also where state or keys would be destroyed")
    sub.add_argument("--bake", type=_count, default=10, metavar="MINUTES", help="how long a canary is watched (gcp)")
    sub.add_argument("--wait", type=_count, default=5, metavar="MINUTES", help="for apps to wake (azure)")
    sub.add_argument("--out", default=None, metavar="DIR", help="where parts are built (the project's dist/)")
    schedule = commands.add_parser(
        "schedule", help="The timers of a cloud, kept in step with the YAML.", parents=[common]
    )
    actions = schedule.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    for name, text in (
        ("render", "Print every timer in the cloud's own words."),
        ("plan", "Compare the project's timers with the cloud's."),
        ("apply", "Make the cloud's timers what the project says."),
    ):
        sub = add(name, f"cli_schedule:{name}", text, to=actions)
        sub.add_argument("--cloud", required=True, choices=["aws", "gcp", "azure"])
    policy = commands.add_parser("policy", help="Policies.", parents=[common])
    actions = policy.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    add("test", "cli_project:policy_test", "Run the tests inside the policy files.", to=actions)
    sub = add("serve", "serve:serve", "HTTP API, scheduler and sweeper in one process.")
    sub.add_argument("--host", default="127.0.0.1")
    sub.add_argument("--port", type=_port, default=8080)
    add("version", "cli_project:version", "Print the version.")


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
