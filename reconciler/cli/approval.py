"""The command line that approves withheld actions: the command that made the plan, with the same options."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator


def approval_command(*command: str, stores: Iterable[str] = (), users: Iterable[str] = (), live: bool = False) -> str:
    """The command line without the digest. A plan that other options make has another digest, and is refused."""
    narrowed = [*_options(stores, "--store"), *_options(users, "--user"), *(["--live"] if live else [])]
    return shlex.join(["reconciler", *command, *narrowed, "--approve"])


def _options(values: Iterable[str], option: str) -> Iterator[str]:
    """The words of repeated options, such as `--store a --store b`."""
    for value in values:
        yield from (option, value)


APPROVE = approval_command("apply")
