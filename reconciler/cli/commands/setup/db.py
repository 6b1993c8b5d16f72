"""`reconciler db`: upgrades and checks the state's schema; prints the SQL of the profiles' outbox."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import click

from reconciler.cli.context import Context
from reconciler.errors import ConfigError, StateError
from reconciler.outbound.databases.url import rewritten
from reconciler.state.database.engine import open_engine
from reconciler.state.schema import check as schema_differences
from reconciler.state.schema import upgrade as upgrade_schema
from reconciler.supabase.outbox import outbox_sql


def upgrade_state(
    context: Context,
) -> None:
    engine = open_engine(context.loaded.settings.state.url, outage_s=context.outage_s)
    try:
        upgrade_schema(engine)
    finally:
        engine.dispose()
    context.say("the state's schema is current")


def check_state(
    context: Context,
) -> None:
    engine = open_engine(context.loaded.settings.state.url, outage_s=context.outage_s)
    try:
        differences = schema_differences(engine)
    finally:
        engine.dispose()
    if differences:
        raise StateError("the state's schema differs: " + "; ".join(differences), hint="reconciler db upgrade")
    context.say("the state's schema is current")


def print_outbox(
    context: Context,
    *,
    table: str | None,
    role: str | None,
    remove: bool,
) -> None:
    settings = context.loaded.settings
    url = rewritten(settings.profiles.url or settings.state.url)
    if url.startswith("sqlite"):
        raise ConfigError("an outbox needs profiles on Postgres, but profiles.url is SQLite", hint="set profiles.url")
    parts = urlsplit(url)
    name = unquote(parts.username or "")
    if (parts.hostname or "").endswith(".pooler.supabase.com"):
        name = name.partition(".")[0]  # the pooler's users are ROLE.PROJECT
    key = settings.profiles.columns["clerk_user_id"]
    click.echo(outbox_sql(table or settings.profiles.table, key, role or name, remove=remove), nl=False)
