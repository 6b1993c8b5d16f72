"""A row changes in Postgres, and its customer follows immediately: the outbox in a running replica."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from reconciler.supabase.outbox import outbox_sql
from tests import servers
from tests.manager.harness import RunHarness, until

TABLE = "public.customers"
COLUMNS = ("clerk_user_id", "email", "email_verified", "first_name", "locale", "updated_at")


def test_a_change_that_only_the_outbox_tells_of_reaches_the_shop(
    harness: RunHarness, postgres: servers.Server, postgres_database: Callable[..., str]
) -> None:
    url = postgres.url(postgres_database())
    harness.settings["profiles"] = {"url": url, "table": TABLE, "columns": {c: c for c in COLUMNS}}
    for store in harness.stores.values():
        store.pop("where", None)
    with psycopg.connect(url, autocommit=True) as app:
        app.execute(
            "create table customers (clerk_user_id text primary key, email text, email_verified bool,"
            " first_name text, locale text, updated_at timestamptz)"
        )
        app.execute(outbox_sql(TABLE, "clerk_user_id", "postgres").encode())
        app.execute("insert into customers values ('user_ada', 'ada@example.com', true, 'Ada', 'en-US', now())")
        with harness.replica(outbox_s=0.05) as running:
            running.scanned_all()
            until(lambda: running.status("user_ada") == "in_sync", "the customer is there")
            app.execute("update customers set first_name = 'Adah', updated_at = now()")
            until(lambda: harness.customers()["ada@example.com"]["firstName"] == "Adah", "the change is there")
            # As if it were old: no resync would find it.
            app.execute("update customers set first_name = 'Ada', updated_at = '2020-01-01Z'")
            until(lambda: harness.customers()["ada@example.com"]["firstName"] == "Ada", "the old one is there")
            until(lambda: app.execute("select 1 from reconciler_outbox.outbox").fetchall() == [], "the outbox is empty")
