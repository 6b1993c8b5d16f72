"""Users as they are named on a command line."""

from __future__ import annotations

import click


def user_id(value: str) -> str:
    """A Clerk user's id. An empty one is wrong usage: a variable of the shell that was not set, as a rule."""
    if not value.strip():
        raise click.BadParameter("the id of a user is empty")
    return value
