"""The command that approves what the guards withhold in a plan: the one that made the plan, with the same options."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator


def approval(*command: str, stores: Iterable[str] = (), users: Iterable[str] = (), live: bool = False) -> str:
    """The command line, less the digest: a plan that other options make has another digest, and is refused."""
    narrowed = [*_named(stores, "--store"), *_named(users, "--user"), *(["--live"] if live else [])]
    return shlex.join(["reconciler", *command, *narrowed, "--approve"])


def _named(values: Iterable[str], option: str) -> Iterator[str]:
    """`--store a --store b`, as words."""
    for value in values:
        yield from (option, value)


APPROVE = approval("apply")
