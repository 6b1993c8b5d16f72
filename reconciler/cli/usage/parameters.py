"""Parameters that several commands share."""

from __future__ import annotations

from collections.abc import Callable

import click


def user_id(value: str) -> str:
    """The user argument, if it is not empty. An empty one is usually an unset shell variable: BadParameter."""
    if not value.strip():
        raise click.BadParameter("the user id is empty")
    return value


def detail_option(command: Callable[..., int]) -> Callable[..., int]:
    """Add --brief and --all: how much of a plan its text shows. The last one given counts."""
    all_ = click.option("--all", "detail", flag_value="all", help="Text: show every action and hold.")
    brief = click.option("--brief", "detail", flag_value="brief", help="Text: one line for each example and reason.")
    return all_(brief(click.option("--examples", "detail", flag_value="examples", default=True, hidden=True)(command)))
