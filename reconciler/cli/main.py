"""The entrance: options that stand before every command, and how errors and exit codes look.

Commands live in files of their own and are imported when they are used, so that `--help` stays quick.
"""

from __future__ import annotations

import difflib
import errno
import gc
import importlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from reconciler.errors import ReconcilerError, UsageError

EXIT_FAILED = 1
EXIT_USAGE = 64
ALONE = "alone"  # what the command's context holds before it is made, where the process ends with the command
FAULT = "a fault of this program: say `reconciler --debug …` once more and report what it prints"

# command: (module below reconciler.cli.commands, one line for --help)
COMMANDS = {
    "plan": ("plan", "Show what would change; change nothing."),
    "apply": ("apply", "Carry out a plan: a saved one, or one made, shown and confirmed now."),
    "run": ("run", "The controller: keep the shops equal until SIGTERM."),
    "nudge": ("nudge", "Ask a running controller to look at users now."),
    "drift": ("drift", "What was changed in Shopify behind us, apart from what is not rolled out yet."),
    "undo": ("undo", "The way back from what was written, planned and confirmed."),
    "status": ("status", "What the state knows of each store."),
    "explain": ("explain", "Why a user is as she is in each shop, and what would happen next."),
    "mappings": ("mappings", "Which customer is which user's, in which shop."),
    "backfill": ("backfill", "What no event told of: users of Clerk, customers of a shop."),
    "bootstrap": ("bootstrap", "Show, then make what a shop needs."),
    "doctor": ("doctor", "Check database, tokens, scopes and shops; say what to do."),
    "simulate": ("simulate", "Serve a simulated Shopify on loopback."),
    "demo": ("demo", "Two simulated shops, 200 people, from nothing to an empty plan."),
    "db": ("db", "The state's schema: upgrade it, check it; the SQL of an outbox."),
    "schema": ("schema", "JSON Schemas of both settings files."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported only when one is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's call
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        gc.disable()  # what is imported stays: looking through it again and again is a tenth of the time it takes
        try:
            module = importlib.import_module(f"reconciler.cli.commands.{COMMANDS[cmd_name][0]}")
        finally:
            if ctx.obj == ALONE:
                gc.freeze()
            gc.enable()
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"there is no command '{args[0]}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's call
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001  click's call
    if value:
        from importlib.metadata import version  # noqa: PLC0415  only where asked for

        click.echo(f"reconciler {version('customer-parity')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="PATH", help="The controller's file [config/reconciler.yaml]."
)
@click.option("--stores", type=click.Path(path_type=Path), metavar="PATH", help="The shops' file [stores.yaml].")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, stores: Path | None, debug: bool) -> None:  # noqa: FBT001  click's call
    """Keep the Customers of Shopify shops equal to the user profiles in a Supabase table."""
    from reconciler.cli.context import Context  # noqa: PLC0415  keeps --help quick

    ctx.obj = Context(config=config, stores=stores, debug=debug)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0, what the command says, 1 for errors, 64 for usage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of few letters still gets its answer
    code = run(sys.argv[1:] if argv is None else argv, alone=True)
    gc.freeze()  # or the interpreter looks through all that was imported once more before it ends, for a tenth of a second
    sys.exit(code)


def run(argv: list[str], *, alone: bool = False) -> int:
    """The exit code of one command line. `alone`: the process is there for nothing else."""
    try:
        result: Any = cli.main(args=argv, prog_name="reconciler", standalone_mode=False, obj=ALONE if alone else None)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        _say("stopped: nothing more was done")
        return EXIT_FAILED
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "reconciler"
        _say(error.format_message(), f"{path} --help")
        return EXIT_USAGE
    except click.ClickException as error:
        _say(error.format_message())
        return EXIT_FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more when it ends
        return EXIT_FAILED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return _unexpected(argv, error)
        _say("there is no room left for what is written", "make room where the output, the state and TMPDIR lie")
        return EXIT_FAILED
    except ReconcilerError as error:
        _traceback(argv)
        _say(error.message, error.hint)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except Exception as error:  # noqa: BLE001  the front door: tracebacks are for --debug only
        return _unexpected(argv, error)
    return result if isinstance(result, int) else 0


def _unexpected(argv: list[str], error: Exception) -> int:
    _traceback(argv)
    at = traceback.extract_tb(error.__traceback__)[-1]
    _say(f"unexpected {type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {error}", FAULT)
    return EXIT_FAILED


def _traceback(argv: list[str]) -> None:
    if "--debug" in argv:
        traceback.print_exc()


def _say(message: str, hint: str = "") -> None:
    from reconciler.cli.render.plain import clean  # noqa: PLC0415  keeps --help quick

    for line in message.splitlines() or [""]:
        click.echo(f"error: {clean(line)}", err=True)
    if hint:
        click.echo(f"hint: {clean(hint)}", err=True)
