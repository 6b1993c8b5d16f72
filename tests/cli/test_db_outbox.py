"""`db outbox` prints SQL for the configured table, and nothing that is secret."""

from __future__ import annotations

from tests.cli.harness import CliHarness

POOLED = "postgresql://reconciler_reader.abcdefgh:pass%40word@aws-0-eu-central-1.pooler.supabase.com:5432/postgres"


def configured(cli: CliHarness, url: str = POOLED) -> None:
    cli.settings["profiles"] |= {"url": url, "table": "app.people"}
    cli.settings["profiles"]["columns"]["clerk_user_id"] = "clerk_id"


def test_it_is_filled_in_for_the_configured_table_key_and_role(cli: CliHarness) -> None:
    configured(cli)
    said = cli("db", "outbox")
    assert (said.code, said.err) == (0, "")
    assert 'after insert or delete on "app"."people"' in said.out
    assert 'new."clerk_id"::text' in said.out
    assert 'grant usage on schema reconciler_outbox to "reconciler_reader";' in said.out
    assert "@" not in said.out
    assert "pass" not in said.out


def test_a_role_that_is_no_pooled_one_keeps_its_dot(cli: CliHarness) -> None:
    configured(cli, "postgresql://the.reader@127.0.0.1/postgres")
    assert 'to "the.reader";' in cli("db", "outbox").out


def test_another_table_and_another_role_may_be_named(cli: CliHarness) -> None:
    configured(cli)
    said = cli("db", "outbox", "--table", "public.base", "--role", "drainer").out
    assert 'on "public"."base"' in said
    assert 'to "drainer";' in said
    assert "people" not in said


def test_it_prints_how_to_take_it_away(cli: CliHarness) -> None:
    configured(cli)
    said = cli("db", "outbox", "--remove").out
    assert 'drop trigger if exists reconciler_outbox_changes on "app"."people";' in said
    assert "create" not in said


def test_for_profiles_on_sqlite_there_is_none(cli: CliHarness) -> None:
    said = cli("db", "outbox")
    assert (said.code, said.out) == (1, "")
    assert "is SQLite" in said.err
