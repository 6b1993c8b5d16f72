"""What every command shares: the settings files, the components built from them, and the output streams.

Each of them is imported when it is first used: a command's help needs none.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.render.plain import WAVE_UNKNOWN, clean, sentence
from reconciler.core.model.batches import batches
from reconciler.errors import PermanentError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from reconciler import settings
    from reconciler.core.model.act import Actor
    from reconciler.core.plan.plan import StorePlan
    from reconciler.core.report.drift import StoreDrift
    from reconciler.manager.intervals import Intervals
    from reconciler.ports import Clock
    from reconciler.wiring import Components

BATCH_PARTS = 1000
OUTAGE_S = 10.0  # of a shop or a Postgres, which a command waits out; `run` has its queue


def print_parts(parts: Iterable[str]) -> None:
    """Print a long text to stdout part by part, then end the line."""
    for block in batches(parts, BATCH_PARTS):
        click.echo("".join(block), nl=False)
    click.echo()


def os_user() -> str:
    """The name of the process's user; its number where the system knows no name, as in many containers."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


@dataclass
class Context:
    """The options before the command, and the output streams. Data goes to stdout, everything else to `err`.

    `clock` replaces the wall clock, and `intervals` the pauses and limits of `run`. `outage_s`: how long a shop or
    a Postgres may fail in the middle of a command.
    """

    config: Path | None = None
    stores: Path | None = None
    debug: bool = False
    out_closed: bool = False
    clock: Clock | None = None
    intervals: Intervals | None = None
    outage_s: float = OUTAGE_S

    @cached_property
    def out(self) -> Console:
        from reconciler.cli.render.console import output_console

        return output_console()

    @cached_property
    def err(self) -> Console:
        from reconciler.cli.render.console import error_console

        return error_console()

    @cached_property
    def loaded(self) -> settings.Loaded:
        """Both settings files, read and validated on first use."""
        return self.read_settings()

    def read_settings(self) -> settings.Loaded:
        """Read both files as they are now. ConfigError if one can't be read or is not valid."""
        from reconciler import settings

        return settings.load(self.config, self.stores, settings.environment())

    @property
    def file_options(self) -> list[str]:
        """The options by which another command reads the same settings files."""
        named = {"--config": self.config, "--stores": self.stores}
        return [word for option, path in named.items() if path is not None for word in (option, str(path))]

    @property
    def paths(self) -> tuple[Path, Path]:
        """The paths of both settings files."""
        from reconciler import settings

        return settings.paths(self.config, self.stores, settings.environment())

    @property
    def actor(self) -> Actor:
        """Who runs this command: the user of the operating system."""
        from reconciler.core.model.act import Actor

        return Actor(os_user(), "command")

    def components(
        self,
        loaded: settings.Loaded | None = None,
        *,
        warn: Callable[[str], None] | None = None,
        outage_s: float | None = None,
    ) -> AbstractContextManager[Components]:
        """The components of these settings, by default `loaded`; their connections are closed at the end.

        `warn` takes their warnings; the default prints them to stderr. `outage_s` replaces that of the context.
        """
        from reconciler import settings
        from reconciler.wiring import open_components

        key = settings.environment().get("RECONCILER_SECRET_KEY")
        return open_components(
            loaded or self.loaded,
            warn=warn or self.warn,
            state_key=key,
            clock=self.clock,
            outage_s=self.outage_s if outage_s is None else outage_s,
        )

    def warn(self, message: str) -> None:
        self.err.print(f"warning: {clean(message)}", style="yellow", markup=False)

    def say(self, message: str) -> None:
        """Print a line to stderr; without rich, which takes long to import."""
        click.echo(message, err=True)

    def report_error(self, store: StorePlan | StoreDrift) -> bool:
        """Print what is not known of a store to stderr. Returns whether there was anything."""
        if store.error is not None:
            self.report_failure(store.store, store.error, store.error_hint)
        elif store.wave_error:
            self.report_failure(store.store, f"{WAVE_UNKNOWN}: {store.wave_error}", store.wave_hint)
        else:
            return False
        return True

    def report_failure(self, store: str, message: str, hint: str | None = None) -> None:
        """Print two lines to stderr: the store and what failed in it, and what to do next."""
        click.echo(f"error: {clean(store)}: {sentence(message)}", err=True)
        click.echo(f"hint: {sentence(hint or f'reconciler doctor --store {store}')}", err=True)

    @contextmanager
    def tolerate_closed_stdout(self) -> Iterator[None]:
        """Print to stdout within this context. If the reader has closed it (`| head`), warn on stderr and continue.

        For commands that change something and must report it. Sets `out_closed` if stdout is closed.
        """
        try:
            yield
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.out_closed = True
            self.warn("the reader closed stdout: the results are printed here")

    def confirm(self, question: str, *, waiting: str) -> bool:
        """Ask `question` and return the answer. `waiting` names what needs it. PermanentError without a terminal."""
        if not sys.stdin.isatty():
            raise PermanentError(f"{waiting}, and there is no terminal to ask on", hint="add --yes")
        if click.confirm(question, default=False, err=True):
            return True
        self.say("nothing was changed")
        return False

    def progress(self) -> Progress:
        """Progress bars on stderr; disabled if it is not a terminal."""
        from reconciler.cli.render.progress import progress_on

        return progress_on(self.err)
