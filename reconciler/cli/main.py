"""The entry point: the options before every command, error messages and exit codes.

The usage of each command has a module in `reconciler.cli.usage`, which is imported when the command is named. What the
command does has one in `reconciler.cli.commands`, which is imported when it runs. So every `--help` is fast.
"""

from __future__ import annotations

import difflib
import errno
import gc
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from reconciler.cli.context import Context
from reconciler.cli.render.plain import clean
from reconciler.cli.streams import drop_unwritten, has_unreadable, open_streams
from reconciler.errors import ReconcilerError, UsageError

EXIT_FAILED = 1
EXIT_USAGE = 64
COLLECT_EVERY = 200_000  # new objects: more than a command imports; by default each 700 are a collection
FILE_HINT = "name another path, or change its permissions; --debug before the command shows where it is used"
LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
LACKING_HINT = "raise the limits of memory, threads and open files (ulimit -a; in a container, its own)"
FAULT = "this is a defect of the program: run `reconciler --debug …` and report what it prints"

SIMULATOR_NEEDS = frozenset({"faker", "graphql", "multipart", "python_multipart"})

# Each command, the name of its module in reconciler.cli.usage, and one line for --help.
COMMANDS = {
    "plan": "Show what would change, without changing anything.",
    "apply": "Apply a saved plan, or make one, show it and apply it.",
    "run": "Run the controller: keep the shops in sync until SIGTERM.",
    "nudge": "Reconcile users ahead of schedule in a running controller.",
    "pause": "Pause stores: observe and decide, but write nothing.",
    "resume": "End the pause of stores.",
    "probe": "Call shops, and resume suspended stores that grant access.",
    "accept": "Leave a user's drift alone until a day.",
    "heal": "End that: heal the drift now.",
    "drift": "Report changes made in Shopify since the last sync.",
    "undo": "Revert recent writes, after showing the plan.",
    "rollout": "Show, continue or abort a change of policy in waves.",
    "status": "Show the sync state of each store.",
    "explain": "Explain a user's sync state in each shop.",
    "mappings": "List, import or forget mappings of users to customers.",
    "backfill": "Read users from Clerk, or customers into a shop's mirror.",
    "init": "Write both settings files from what the database has.",
    "bootstrap": "Show what a shop lacks, then create it.",
    "doctor": "Check databases, tokens, scopes and shops; suggest fixes.",
    "simulate": "Serve a simulated Shopify on loopback.",
    "demo": "Sync 200 users to two simulated shops, step by step.",
    "db": "Upgrade or check the state's schema; print the SQL of an outbox.",
    "schema": "Print the JSON Schemas of both settings files.",
    "docs": "Print the reference: a reason, an error, a command or a page.",
}


class LazyGroup(click.Group):
    """A group that imports the usage of a command only when the command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's call
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's call
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"reconciler.cli.usage.{cmd_name}").command
        _accept_files(command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name not in SIMULATOR_NEEDS:
                raise
            raise UsageError(
                f"`reconciler {ctx.invoked_subcommand}` needs the simulator, and {error.name} is not installed",
                hint="pip install 'customer-parity[simulator]'",
            ) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"there is no command '{args[0]}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's call
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _use_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.obj.config = value


def _use_stores(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.obj.stores = value


FILE_OPTIONS = tuple(
    click.Option(
        [option, f"{option.lstrip('-')}_after"],
        type=click.Path(path_type=Path),
        expose_value=False,
        hidden=True,  # the help of `reconciler` has them
        callback=use,
    )
    for option, use in (("--config", _use_config), ("--stores", _use_stores))
)


def _accept_files(command: click.Command) -> None:
    """Let the options that name the settings files follow the command, and its subcommands, as well."""
    command.params.extend(option for option in FILE_OPTIONS if option not in command.params)
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            _accept_files(subcommand)


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001  click's call
    if value:
        from importlib.metadata import version  # noqa: PLC0415  only where asked for

        click.echo(f"reconciler {version('customer-parity')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The controller's settings [config/reconciler.yaml]; also after the command.",
)
@click.option(
    "--stores",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The stores' settings [stores.yaml]; also after the command.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, stores: Path | None, debug: bool) -> None:  # noqa: FBT001  click's call
    """Keep the customers of Shopify shops equal to the user profiles in a Supabase table."""
    ctx.obj = Context(config=config, stores=stores, debug=debug)


def main(argv: list[str] | None = None, *, group: click.Group | None = None) -> None:
    """Run the command line and exit: 0 or the command's own code, 1 for errors, 64 for wrong usage."""
    open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a terminal that can't show every character
    gc.set_threshold(COLLECT_EVERY)
    # A part of httpx that is a command of its own would import rich and pygments; without it, httpx works the same.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is how Python marks a refused import
    _on_interrupt(signal.default_int_handler)  # start.py had it end the process
    code = run(sys.argv[1:] if argv is None else argv, group=group or cli)
    _on_interrupt(signal.SIG_DFL)  # the exit waits for threads: one more interrupt ends it, without a traceback
    sys.exit(code)


def _on_interrupt(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Handle SIGINT so, unless the process was started to ignore it, as a script's job in the background is."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def run(argv: list[str], *, group: click.Group = cli) -> int:
    """Run one command line of `group` and return its exit code."""
    try:
        result: Any = group.main(args=argv, prog_name="reconciler", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return _report_interrupt()
    except click.UsageError as error:
        return _report_usage(argv, error)
    except click.ClickException as error:
        _print_error(error.format_message())
        return EXIT_FAILED
    except OSError as error:
        return _report_os_error(argv, error)
    except ReconcilerError as error:
        _print_traceback(argv)
        _print_error(error.message, error.hint)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except UnicodeEncodeError as error:
        if has_unreadable(argv):
            _print_error("an argument is not valid text in this locale", "use UTF-8, such as LC_ALL=C.UTF-8")
            return EXIT_USAGE
        return _report_unexpected(argv, error)
    except Exception as error:  # noqa: BLE001  the entry point: only --debug shows tracebacks
        return _report_unexpected(argv, error)
    return result if isinstance(result, int) else 0


def _report_interrupt() -> int:
    """Say whether calls are under way in other threads: a second interrupt does not wait for their end."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.current_thread()):
        _print_error("interrupted: calls under way may still change something", "reconciler plan shows what is left")
    else:
        _print_error("interrupted: nothing more was changed")
    return EXIT_FAILED


def _report_usage(argv: list[str], error: click.UsageError) -> int:
    """Print the error, or the help of a group that was named without one of its commands."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    named = [argument for argument in argv if argument in COMMANDS][:1]  # Click has no context where a value is missing
    path = error.ctx.command_path if error.ctx is not None else " ".join(["reconciler", *named])
    _print_error(error.format_message(), f"{path} --help")
    return EXIT_USAGE


def _report_os_error(argv: list[str], error: OSError) -> int:
    is_closed = drop_unwritten()
    if error.errno in LACKING:
        return _report_unexpected(argv, error)
    if isinstance(error, BrokenPipeError) and is_closed:
        return EXIT_FAILED
    if error.errno == errno.ENOSPC:
        _print_error("no space left on the device", "free space where the output, the state and TMPDIR are")
        return EXIT_FAILED
    if error.filename is not None and error.strerror:
        _print_traceback(argv)
        _print_error(f"{os.fsdecode(error.filename)}: {error.strerror}", FILE_HINT)
        return EXIT_FAILED
    return _report_unexpected(argv, error)


def _report_unexpected(argv: list[str], error: Exception) -> int:
    _print_traceback(argv)
    if _is_lacking(error):
        _print_error(f"the system gives no more: {str(error) or 'out of memory'}", LACKING_HINT)
        return EXIT_FAILED
    at = traceback.extract_tb(error.__traceback__)[-1]
    _print_error(f"unexpected {type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {error}", FAULT)
    return EXIT_FAILED


def _is_lacking(error: Exception) -> bool:
    """Whether the process has reached a limit of memory, threads or open files."""
    if isinstance(error, OSError):
        return error.errno in LACKING
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))


def _print_traceback(argv: list[str]) -> None:
    if "--debug" in argv:
        traceback.print_exc()


def _print_error(message: str, hint: str = "") -> None:
    for line in message.splitlines() or [""]:
        click.echo(f"error: {clean(line)}", err=True)
    if hint:
        click.echo(f"hint: {clean(hint)}", err=True)
