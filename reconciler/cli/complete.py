"""Shell completion of stores, users and reasons. It only reads, and offers nothing if a file or the state can't be read."""

from __future__ import annotations

from pathlib import Path

import click

USERS_MAX = 50


def complete_store(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The names in stores.yaml that begin with what was typed."""
    from reconciler.settings import environment, paths, store_names

    _, stores = paths(*_files(ctx), environment())
    return [name for name in store_names(stores) if name.startswith(incomplete)]


def complete_user(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The users that begin with what was typed, the last seen first."""
    from reconciler.errors import ReconcilerError
    from reconciler.settings import environment, load
    from reconciler.state.console.reader import ConsoleTable
    from reconciler.state.database.found import find_state, open_read_only

    try:
        url = load(*_files(ctx), environment()).settings.state.url
        if not find_state(url).is_usable:
            return []
        with open_read_only(url) as engine:
            return [str(user) for user in ConsoleTable(engine).users_seen(incomplete, limit=USERS_MAX)]
    except ReconcilerError:
        return []


def complete_reason(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The reasons of holds that begin with what was typed, in any case."""
    from reconciler.core.model.reasons import HOLD_REASONS, STATUS_REASONS

    return [name for name in (*HOLD_REASONS, *STATUS_REASONS) if name.lower().startswith(incomplete.lower())]


def _files(ctx: click.Context) -> tuple[Path | None, Path | None]:
    """The options --config and --stores that were typed before the command."""
    typed = ctx.find_root().params
    return typed.get("config"), typed.get("stores")
