"""What every command shares: the settings files, the house they describe, and where words go."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reconciler import settings
from reconciler.cli.render.plain import clean, sentence
from reconciler.core.model.batches import batches
from reconciler.errors import PermanentError
from reconciler.wiring import Components

PARTS_AT_ONCE = 1000


def poured(parts: Iterable[str]) -> None:
    """A long text to stdout as it comes, and the end of a line."""
    for block in batches(parts, PARTS_AT_ONCE):
        click.echo("".join(block), nl=False)
    click.echo()


class Output(Console):
    """Stdout for people. A reader that has gone is told to the command, which may have more to say than to leave."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "stdout was closed")


@dataclass
class Context:
    """Options given before the command. Data goes to stdout, everything else to `err`."""

    config: Path | None = None
    stores: Path | None = None
    debug: bool = False
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))
    out: Console = field(default_factory=lambda: Output(highlight=False))
    out_closed: bool = False

    @cached_property
    def loaded(self) -> settings.Loaded:
        """Both files, read and checked."""
        return self.read()

    def read(self) -> settings.Loaded:
        """Both files as they are now; ConfigError where they can't be read."""
        return settings.load(self.config, self.stores, settings.environment())

    def read_again(self) -> None:
        """Read both files again; what was read before stays where they can't be read (ConfigError)."""
        self.__dict__["loaded"] = self.read()

    @property
    def paths(self) -> tuple[Path, Path]:
        """Where both settings files are."""
        return settings.paths(self.config, self.stores, settings.environment())

    @contextmanager
    def components(self, *, warn: Callable[[str], None] | None = None) -> Iterator[Components]:
        """The house, closed afterwards. `warn`: where its warnings go, if not to stderr in plain words."""
        key = settings.environment().get("RECONCILER_SECRET_KEY")
        with Components(self.loaded, warn=warn or self.warn, state_key=key) as components:
            yield components

    def warn(self, message: str) -> None:
        self.err.print(f"warning: {clean(message)}", style="yellow", markup=False)

    def say(self, message: str) -> None:
        self.err.print(message, markup=False)

    def failed(self, store: str, message: str, hint: str | None = None) -> None:
        """What failed in a store, on stderr: a line that says where and what, and one that says what to do next."""
        click.echo(f"error: {clean(store)}: {sentence(message)}", err=True)
        click.echo(f"hint: {sentence(hint or f'reconciler doctor --store {store}')}", err=True)

    @contextmanager
    def outlasting(self) -> Iterator[None]:
        """Print to stdout within; where its reader has gone (`| head`), the command goes on, and says so on stderr.

        For commands that change something: what they did must be told. `out_closed` is set then.
        """
        try:
            yield
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.out_closed = True
            self.warn("stdout was closed by its reader: what is done is said here")

    def confirmed(self, question: str, *, waiting: str) -> bool:
        """Whether a person says yes; PermanentError where there is nobody to ask. `waiting` says what waits for it."""
        if not sys.stdin.isatty():
            raise PermanentError(f"{waiting}, and there is no terminal to ask", hint="add --yes")
        if click.confirm(question, default=False, err=True):
            return True
        self.say("nothing was done")
        return False

    def progress(self) -> Progress:
        """Bars on stderr, only where it is a terminal."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.err,
            transient=True,
            disable=not self.err.is_terminal,
        )
