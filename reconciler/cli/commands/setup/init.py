"""`reconciler init`: writes both settings files from what it finds in the database of the profiles."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from reconciler.cli.checks.guess_columns import (
    NAMES,
    USER_ID_WORDS,
    TableGuess,
    best_table,
    guess_columns,
    likely_first,
)
from reconciler.cli.context import Context
from reconciler.cli.render.flow import LinePrinter
from reconciler.cli.render.plain import clean
from reconciler.core.model.store import SHOP_PATTERN
from reconciler.errors import SourceError, UsageError
from reconciler.settings import environment
from reconciler.supabase.checks.overview import list_tables, read_tables

VARIABLES = ("RECONCILER_PROFILES_URL", "DATABASE_URL", "POSTGRES_URL", "SUPABASE_DB_URL")
READ_MAX = 40  # tables of which columns and values are read
EXAMPLE_SHOP = "your-shop.myshopify.com"

CONFIG = """\
# The controller. docs/configuration.md explains every key; `reconciler docs configuration` prints it.
version: 1

state:
  url: ${{RECONCILER_STATE_URL:-sqlite:///var/reconciler.db}} # for several processes: postgresql://…

profiles:
  url: {url}
  table: {table}
  columns: # ours: theirs, as guessed by `reconciler init`: check each line
{columns}
  # verified: only emails that email_verified confirms find an existing customer. always: every email. never: none.
  trust_email: {trust}

clerk:
  webhook_secrets: ["${{CLERK_WEBHOOK_SECRET:-}}"]
  secret_key: ${{CLERK_SECRET_KEY:-}}
  upsert_profiles: false # true: a webhook writes the profile row before the user is reconciled

server:
  host: 127.0.0.1
  port: 8080
  public_url: ${{RECONCILER_PUBLIC_URL:-}}
  console_token: ${{RECONCILER_CONSOLE_TOKEN:-}}
"""
STORES = """\
# The shops, and what each store wants. docs/configuration.md explains every key.
version: 1

defaults:
  # Who owns each field: enforce (the profile), fill (written while Shopify has no value), create_only, ignore.
  fields: {{email: enforce, first_name: enforce, last_name: enforce, phone: fill, locale: ignore, note: ignore}}
  tags: [app-user] # tags that others add are never touched
  on_leave: keep # customers of users who left: keep, tag, delete, erase

stores:
  - name: {name}
    shop: {shop} # the myshopify.com name, not the shop's own domain
    auth: {{access_token: "${{{variable}:-}}"}} # or client_id and client_secret
    webhook_secret: ${{SHOPIFY_WEBHOOK_SECRET:-}}
    where: {{}} # which users this store wants; empty: all. For example {{locale: [en-US, en-GB]}}
"""


def write_settings(context: Context, *, profiles_url: str | None, table: str | None, shop: str | None) -> int:
    """Inspect the database, write both files, and print what was guessed. Overwrites nothing."""
    if shop is not None and not SHOP_PATTERN.fullmatch(shop):
        raise UsageError(f"'{shop}' is not a shop domain", hint="give the myshopify.com name: acme.myshopify.com")
    config, stores = context.paths
    for path in (config, stores):
        if path.exists():
            raise UsageError(
                f"{path} exists, and is not overwritten", hint="move it away, or name others: --config, --stores"
            )
    url, place = _source(profiles_url)
    guess = _guess(url, table)
    domain = shop or EXAMPLE_SHOP
    name = domain.removesuffix(".myshopify.com")
    variable = f"{name.upper().replace('-', '_')}_TOKEN"
    _write_both(
        {
            config: CONFIG.format(
                url=place, table=json.dumps(guess.table), columns="\n".join(_column_lines(guess)), trust=_trust(guess)
            ),
            stores: STORES.format(name=name, shop=domain, variable=variable),
        }
    )
    _show(guess, context.out, config=config, stores=stores, place=place, variable=variable, is_example=shop is None)
    return 0


def _source(given: str | None) -> tuple[str, str]:
    """The URL of the profiles, and how the file names it: secrets stay out of the file."""
    if given is not None:
        return given, given if given.startswith("sqlite") else "${RECONCILER_PROFILES_URL}"
    for name in VARIABLES:
        if found := environment().get(name):
            return found, f"${{{name}}}"
    raise UsageError(
        "no database is named",
        hint=f"reconciler init --profiles-url postgresql://…, or set one of {', '.join(VARIABLES)}",
    )


def _guess(url: str, table: str | None) -> TableGuess:
    names = list_tables(url)
    if table is not None:
        wanted = [name for name in names if table in {name, name.rpartition(".")[2]}]
        if not wanted:
            listed = ", ".join(likely_first(names)[:10]) or "none"
            raise SourceError(f"there is no table or view {table}", hint=f"--table with one of: {listed}")
        return guess_columns(read_tables(url, wanted[:1])[0])
    found = best_table(read_tables(url, likely_first(names)[:READ_MAX]))
    if found is None:
        listed = ", ".join(likely_first(names)[:10]) or "none"
        raise SourceError(
            f"no table has a column with Clerk user ids: {USER_ID_WORDS}",
            hint=f"name it: reconciler init --table NAME (tables: {listed})",
        )
    return found


def _trust(guess: TableGuess) -> str:
    """Without a column that says so, no email is proven, so none may find an existing customer."""
    return "verified" if "email_verified" in guess.columns or "email" not in guess.columns else "never"


def _column_lines(guess: TableGuess) -> Iterator[str]:
    if "clerk_user_id" not in guess.columns:
        yield "    clerk_user_id: CHANGE_ME # the column with Clerk's user ids (user_…)"
    for field in NAMES:
        if field in guess.columns:
            found = guess.columns[field]
            yield f"    {field}: {json.dumps(found.column)} # guessed: {found.why}"
        elif field != "clerk_user_id":
            yield f"    # {field}: # not found: {guess.missing[field]}"


def _write_both(texts: Mapping[Path, str]) -> None:
    """Write all files or none, and only where there is none yet."""
    written: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            written.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise UsageError(
            f"{error.filename} can't be written: {error.strerror}", hint="check the folder and its rights"
        ) from error


def _show(
    guess: TableGuess, console: Console, *, config: Path, stores: Path, place: str, variable: str, is_example: bool
) -> None:
    lines = LinePrinter(console)
    lines.put((f"table {clean(guess.table)}", "bold"))
    for field in NAMES:
        found = guess.columns.get(field)
        if found is not None:
            lines.flow(
                [("✓", "green"), (f"{field:<15}", ""), (clean(found.column), "bold"), (f"({clean(found.why)})", "dim")],
                indent=2,
                hang=18,
            )
    for field, why in guess.missing.items():
        needed = field == "clerk_user_id"
        mark = ("✗", "bold red") if needed else ("–", "dim")
        lines.flow([mark, (f"{field:<15}", ""), (clean(why), "dim")], indent=2, hang=18)
    lines.blank()
    lines.put((f"wrote {config} and {stores}", "bold green"))
    lines.prose("Next:", "bold")
    if place == "${RECONCILER_PROFILES_URL}":
        lines.prose("export RECONCILER_PROFILES_URL=…   (the URL that you gave; it is not in the file)", indent=2)
    if "clerk_user_id" not in guess.columns:
        lines.prose(f"set columns.clerk_user_id in {config}", indent=2)
    if _trust(guess) == "never":
        lines.prose(
            "no column says which emails are verified, so none finds an existing customer: see trust_email", indent=2
        )
    if is_example:
        lines.prose(f"name your shop in {stores}", indent=2)
    lines.prose(f"export {variable}=shpat_…, or set client_id and client_secret in {stores}", indent=2)
    for command in ("bootstrap", "doctor", "plan"):
        lines.put((f"reconciler {command}", ""), indent=2)
