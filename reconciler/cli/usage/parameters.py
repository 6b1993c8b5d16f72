"""Parameters that several commands share."""

from __future__ import annotations

from collections.abc import Callable

import click

from reconciler.cli.complete import complete_store, complete_user


def user_id(value: str) -> str:
    """The user argument, if it is not empty. An empty one is usually an unset shell variable: BadParameter."""
    if not value.strip():
        raise click.BadParameter("the user id is empty")
    return value


store_option = click.option(
    "--store", "stores", multiple=True, metavar="N", help="Only this store; repeatable.", shell_complete=complete_store
)
user_option = click.option(
    "--user", "users", type=user_id, multiple=True, metavar="USER",
    help="Only this user, by id, email, name, phone or customer; repeatable.", shell_complete=complete_user,
)  # fmt: skip

output_option = click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)


def detail_option(command: Callable[..., int]) -> Callable[..., int]:
    """Add --brief and --all: how much of a plan its text shows. The last one given counts."""
    all_ = click.option("--all", "detail", flag_value="all", help="Text: show every action and hold.")
    brief = click.option("--brief", "detail", flag_value="brief", help="Text: one line for each example and reason.")
    return all_(brief(click.option("--examples", "detail", flag_value="examples", default=True, hidden=True)(command)))
