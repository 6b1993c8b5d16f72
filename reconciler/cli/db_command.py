"""`reconciler db`: the state's schema."""

from __future__ import annotations

import click

from reconciler.cli.context import Context
from reconciler.errors import StateError
from reconciler.state.engine import open_engine
from reconciler.state.schema import check as schema_differences
from reconciler.state.schema import upgrade as upgrade_schema


@click.group("db")
def command() -> None:
    """The state's schema: make it, upgrade it, check it."""


@command.command("upgrade")
@click.pass_obj
def upgrade(context: Context) -> None:
    """Bring the state's schema to what this program needs. Safe to repeat."""
    engine = open_engine(context.loaded.settings.state.url)
    try:
        upgrade_schema(engine)
    finally:
        engine.dispose()
    context.say("the state's schema is current")


@command.command("check")
@click.pass_obj
def check(context: Context) -> None:
    """Compare the state's schema with what this program needs; change nothing."""
    engine = open_engine(context.loaded.settings.state.url)
    try:
        differences = schema_differences(engine)
    finally:
        engine.dispose()
    if differences:
        raise StateError("the state's schema differs: " + "; ".join(differences), hint="reconciler db upgrade")
    context.say("the state's schema is current")
