"""The command line that approves withheld actions: the command that made the plan, with the same options."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator


def approval_command(
    *command: str,
    files: Iterable[str] = (),
    stores: Iterable[str] = (),
    users: Iterable[str] = (),
    live: bool = False,
) -> str:
    """The command line without the digest, quoted for a shell. `files` are the options that name the settings files.

    A plan that other options make has another digest, and is refused.
    """
    narrowed = [*_options(stores, "--store"), *_options(users, "--user"), *(["--live"] if live else [])]
    return shlex.join(["reconciler", *files, *command, *narrowed, "--approve"])


def _options(values: Iterable[str], option: str) -> Iterator[str]:
    """The words of repeated options, such as `--store a --store b`."""
    for value in values:
        yield from (option, value)


APPROVE = approval_command("apply")
