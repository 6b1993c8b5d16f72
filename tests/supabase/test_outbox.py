"""The outbox on a real Postgres: what the trigger tells, what it never does, and who hears of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import psycopg
import pytest
from psycopg import sql

from reconciler.core.model.ids import ClerkUserId
from reconciler.errors import ConfigError, SourceBusy, SourceError
from reconciler.state.database.engine import open_engine
from reconciler.supabase.outbox import PAUSE_S, QUIET_S, Listener, NoOutbox, NudgeFeed, Outbox, outbox_sql
from tests import servers

ROLES = ("anon", "authenticated", "service_role", "outbox_reader")
TABLE = "public.customers"
WAIT_S = 60.0
MADE = """
create table public.customers (clerk_user_id text primary key, email text, last_seen timestamptz, extra json);
grant select, insert, update, delete on public.customers to authenticated, service_role;
"""


@dataclass
class World:
    """A database with an outbox; `app` writes the profiles as a signed-in user's request does."""

    server: servers.Server
    name: str

    def url(self, user: str = "outbox_reader", port: int | None = None) -> str:
        return self.server.url(self.name, user=user, port=port)

    def run(self, statement: str, *values: Any, role: str = "postgres") -> list[Any]:
        with self.server.connect(self.name) as connection:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
            done = connection.execute(statement.encode(), values or None)
            return done.fetchall() if done.description else []

    def app(self, statement: str, *values: Any) -> list[Any]:
        return self.run(statement, *values, role="authenticated")

    def queued_users(self) -> list[str]:
        return [row[0] for row in self.run("select clerk_user_id from reconciler_outbox.outbox order by id")]

    def people(self) -> list[str]:
        return [row[0] for row in self.run("select clerk_user_id from customers order by 1")]

    @contextmanager
    def outbox(self, user: str = "outbox_reader", port: int | None = None) -> Iterator[Outbox]:
        engine = open_engine(self.url(user, port))
        try:
            yield Outbox(engine)
        finally:
            engine.dispose()


@pytest.fixture
def world(postgres: servers.Server, postgres_database: Callable[..., str]) -> World:
    with postgres.connect() as connection:
        for role in ROLES:
            if not connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone():
                connection.execute(f"create role {role}".encode())
            connection.execute(f"alter role {role} login".encode())
    world = World(postgres, postgres_database())
    world.run(MADE)
    world.run(outbox_sql(TABLE, "clerk_user_id", "outbox_reader"))
    return world


def names(*users: str) -> list[ClerkUserId]:
    return [ClerkUserId(user) for user in users]


# --- what it tells ----------------------------------------------------------------------------------------------------


def test_it_tells_of_new_rows_changes_and_deletions(world: World) -> None:
    world.app("insert into customers values ('user_1', 'a@x.example'), ('user_2', 'b@x.example')")
    world.app("update customers set email = 'c@x.example' where clerk_user_id = 'user_1'")
    world.app("delete from customers where clerk_user_id = 'user_2'")
    assert world.queued_users() == ["user_1", "user_2", "user_1", "user_2"]


def test_of_a_changed_key_it_tells_both(world: World) -> None:
    world.app("insert into customers values ('user_old')")
    world.app("update customers set clerk_user_id = 'user_new'")
    assert sorted(world.queued_users()) == ["user_new", "user_old", "user_old"]


def test_a_write_that_changes_nothing_is_not_notified(world: World) -> None:
    world.app("insert into customers values ('user_1', 'a@x.example', null, '{\"a\": 1}')")
    world.app("update customers set email = email, extra = extra")
    assert world.queued_users() == ["user_1"]


def test_a_column_of_json_can_be_compared_and_its_changes_are_notified(world: World) -> None:
    world.app("insert into customers (clerk_user_id, extra) values ('user_1', '{}')")
    world.app("update customers set extra = '{\"a\": 1}'")
    assert world.queued_users() == ["user_1", "user_1"]


def test_what_is_rolled_back_was_never_notified(world: World) -> None:
    with psycopg.connect(world.url("authenticated")) as connection:
        connection.execute("insert into customers values ('user_1')")
        connection.rollback()
    assert world.queued_users() == []


def test_making_it_twice_changes_nothing_and_it_can_be_taken_away(world: World) -> None:
    world.app("insert into customers values ('user_1')")
    world.run(outbox_sql(TABLE, "clerk_user_id", "outbox_reader"))
    world.app("insert into customers values ('user_2')")
    assert world.queued_users() == ["user_1", "user_2"]
    world.run(outbox_sql(TABLE, "clerk_user_id", "outbox_reader", remove=True))
    world.app("insert into customers values ('user_3')")
    assert world.run("select from pg_namespace where nspname = 'reconciler_outbox'") == []
    assert world.run("select from pg_trigger where not tgisinternal") == []


def test_names_that_need_quotes_are_quoted(world: World) -> None:
    world.run('create table "Our ""People""" ("Clerk Id" uuid, "@KEY@" text)')
    world.run('grant insert on "Our ""People""" to authenticated')
    world.run(outbox_sql('Our "People"', "Clerk Id", "outbox_reader"))
    world.app('insert into "Our ""People""" values (\'11111111-1111-4111-8111-111111111111\')')
    assert world.queued_users() == ["11111111-1111-4111-8111-111111111111"]


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        outbox_sql(TABLE, name, "outbox_reader")


# --- what it never does -----------------------------------------------------------------------------------------------

SEQUENCE = "reconciler_outbox.outbox_id_seq"
BROKEN = {
    "the outbox is gone": "drop table reconciler_outbox.outbox",
    "its columns are others": "alter table reconciler_outbox.outbox rename clerk_user_id to who",
    "it is full": f"alter sequence {SEQUENCE} maxvalue 2; select setval('{SEQUENCE}', 2)",
    "it refuses the row": "alter table reconciler_outbox.outbox add check (clerk_user_id = '')",
    "its owner may not write": "alter function reconciler_outbox.tell() owner to anon",
}


@pytest.mark.parametrize("sabotage", BROKEN.values(), ids=list(BROKEN))
def test_a_sign_up_never_fails(world: World, sabotage: str) -> None:
    world.run(sabotage)
    world.app("insert into customers values ('user_1', 'a@x.example')")
    world.app("update customers set email = 'b@x.example'")
    assert world.people() == ["user_1"]
    world.app("delete from customers")
    assert world.people() == []


def test_a_sign_up_does_not_wait_for_a_locked_outbox(world: World) -> None:
    with psycopg.connect(world.url("postgres")) as holder:
        holder.execute("lock table reconciler_outbox.outbox in access exclusive mode")
        with psycopg.connect(world.url("authenticated"), autocommit=True) as app:
            app.execute("set statement_timeout = '8s'")  # as Supabase has it for this role
            app.execute("insert into customers select 'user_' || n from generate_series(1, 300) n")
    assert len(world.people()) == 300
    assert world.queued_users() == []


def test_the_writers_search_path_leads_nowhere(world: World) -> None:
    """A function that runs as its owner must not be led to somebody else's `unnest`."""
    world.run("create schema trap; grant usage, create on schema trap to authenticated")
    world.app("create function trap.unnest(text[]) returns setof text language sql as $$ select 'user_trapped' $$")
    with psycopg.connect(world.url("authenticated"), autocommit=True) as app:
        app.execute("set search_path = trap, public, pg_catalog")
        app.execute("insert into customers values ('user_1')")
    assert world.queued_users() == ["user_1"]


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_the_api_roles_have_nothing_of_it(world: World, role: str) -> None:
    world.run("insert into customers values ('user_1')")
    for statement in (
        "select * from reconciler_outbox.outbox",
        "insert into reconciler_outbox.outbox (clerk_user_id) values ('user_x')",
        "select nextval('reconciler_outbox.outbox_id_seq')",
        "select reconciler_outbox.tell()",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            world.run(statement, role=role)
    rights = "select has_table_privilege(%s, 'reconciler_outbox.outbox', 'select, insert, update, delete, truncate')"
    assert world.run(rights, role) == [(False,)]
    assert world.run("select has_function_privilege(%s, 'reconciler_outbox.tell()', 'execute')", role) == [(False,)]


# --- draining ---------------------------------------------------------------------------------------------------------


def test_each_user_is_handed_over_once_and_in_order(world: World) -> None:
    world.app("insert into customers values ('user_b')")
    world.app("insert into customers values ('user_a')")
    world.app("update customers set email = 'c@x.example' where clerk_user_id = 'user_b'")
    with world.outbox() as outbox:
        assert outbox.drain() == names("user_b", "user_a")
        assert outbox.drain() == []
    assert world.queued_users() == []


def test_what_could_not_be_handed_over_stays(world: World) -> None:
    world.app("insert into customers values ('user_1')")

    def refuse(users: Sequence[ClerkUserId]) -> None:
        raise SourceError(f"the queue is away, {len(users)} wait")

    with world.outbox() as outbox:
        with pytest.raises(SourceError, match="1 wait"):
            outbox.drain(hand_over=refuse)
        assert outbox.drain() == names("user_1")


def test_no_transaction_is_open_in_the_apps_database_while_the_queue_is_waited_for(world: World) -> None:
    world.app("insert into customers values ('user_1')")

    def wait_for_the_queue(users: Sequence[ClerkUserId]) -> None:
        assert users == names("user_1")
        ours = "select state from pg_stat_activity where usename = 'outbox_reader' and datname = current_database()"
        assert world.run(ours) == [("idle",)]
        with world.server.connect(world.name) as owner:
            owner.execute("set lock_timeout = '2s'")
            owner.execute("alter table reconciler_outbox.outbox set (fillfactor = 90)")
        world.app("update customers set email = 'new@x.example'")

    with world.outbox() as outbox:
        assert outbox.drain(hand_over=wait_for_the_queue) == names("user_1")
        assert world.queued_users() == names("user_1"), "what was written meanwhile is still to be handed over"
        assert outbox.drain() == names("user_1")
        assert outbox.drain() == []


def test_a_locked_outbox_is_not_waited_for(world: World) -> None:
    world.app("insert into customers values ('user_1')")
    with world.outbox() as outbox:
        with psycopg.connect(world.url("postgres")) as holder:
            holder.execute("lock table reconciler_outbox.outbox in access exclusive mode")
            with pytest.raises(SourceBusy, match="another transaction has locked the table"):
                outbox.drain()
        assert outbox.drain() == names("user_1")


def test_two_replicas_lose_nothing_between_them(world: World) -> None:
    world.app("insert into customers select 'user_' || n from generate_series(1, 40) n")
    inside, go_on = threading.Event(), threading.Event()
    first: list[ClerkUserId] = []

    def hold(users: Sequence[ClerkUserId]) -> None:
        first.extend(users)
        inside.set()
        assert go_on.wait(30)

    with world.outbox() as one, world.outbox() as other:
        thread = threading.Thread(target=one.drain, args=(25, hold))
        thread.start()
        try:
            assert inside.wait(30)
            second = other.drain(25) + other.drain(25)
        finally:
            go_on.set()
            thread.join(30)
    assert len({*first, *second}) == 40
    assert world.queued_users() == []


def test_what_can_be_no_users_name_is_thrown_away(world: World) -> None:
    world.app("insert into customers values (''), (repeat('x', 300)), (E'a\\nb'), ('user_1')")
    with world.outbox() as outbox:
        assert outbox.drain() == names("user_1")
    assert world.queued_users() == []


def test_it_is_drained_through_a_transaction_pooler(world: World, pooler: int) -> None:
    world.run("grant all on schema reconciler_outbox to postgres")
    world.app("insert into customers values ('user_1')")
    with world.outbox("postgres", pooler) as outbox:
        assert outbox.drain() == names("user_1")


def test_without_an_outbox_no_one_is_notified_and_nothing_fails(world: World) -> None:
    world.run(outbox_sql(TABLE, "clerk_user_id", "outbox_reader", remove=True))
    with world.outbox() as outbox, pytest.raises(NoOutbox):
        outbox.drain()
    with world.outbox() as outbox:
        assert NudgeFeed(outbox).poll() == ()


def test_a_role_without_the_grants_is_shown_where_they_are(world: World) -> None:
    with world.outbox("anon") as outbox, pytest.raises(SourceError) as caught:
        outbox.drain()
    assert "reconciler db outbox" in caught.value.hint


# --- listening --------------------------------------------------------------------------------------------------------


class Time:
    """A clock that stays at one time until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def hearing(feed: NudgeFeed) -> str:
    return feed.hearing


def polled_until(feed: NudgeFeed, wanted: str) -> None:
    """Poll until this user comes: the server delivers a notification a moment after the commit."""
    end = monotonic() + WAIT_S
    while ClerkUserId(wanted) not in feed.poll():
        assert monotonic() < end, "never heard"


def test_a_feed_that_hears_reads_the_table_only_when_notified(world: World) -> None:
    time = Time()
    with world.outbox() as outbox, closing(NudgeFeed(outbox, Listener(world.url()), monotonic=time)) as feed:
        assert feed.poll() == ()
        assert feed.hearing == "hears"
        assert feed.poll() == ()
        world.run("alter table customers disable trigger all")
        world.run("insert into reconciler_outbox.outbox (clerk_user_id) values ('user_silent')")
        assert feed.poll() == ()  # no notification came
        world.run("alter table customers enable trigger all")
        world.app("insert into customers values ('user_1')")
        polled_until(feed, "user_1")


def test_a_feed_that_hears_nothing_for_long_polls_all_the_same(world: World) -> None:
    time = Time()
    with world.outbox() as outbox, closing(NudgeFeed(outbox, Listener(world.url()), monotonic=time)) as feed:
        feed.poll()
        feed.poll()
        world.run("insert into reconciler_outbox.outbox (clerk_user_id) values ('user_silent')")
        assert feed.poll() == ()
        time.now += QUIET_S
        assert feed.poll() == tuple(names("user_silent"))


def test_behind_a_transaction_pooler_no_feed_hears_and_every_poll_reads_the_table(world: World, pooler: int) -> None:
    """LISTEN is accepted there without an error: only the proof tells that it is deaf."""
    url = world.url("postgres", pooler)
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("listen reconciler_outbox")
    with world.outbox("postgres", pooler) as outbox, closing(NudgeFeed(outbox, Listener(url))) as feed:
        assert feed.poll() == ()
        assert feed.hearing == "deaf"
        world.app("insert into customers values ('user_1')")
        assert feed.poll() == tuple(names("user_1"))
        assert feed.poll() == ()


def test_a_feed_that_loses_its_listener_continues_by_polling_and_listens_again_later(world: World) -> None:
    time = Time()
    with world.outbox() as outbox, closing(NudgeFeed(outbox, Listener(world.url()), monotonic=time)) as feed:
        feed.poll()
        world.run(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database()"
            " and query like 'LISTEN%'"
        )
        world.app("insert into customers values ('user_1')")
        polled_until(feed, "user_1")
        while hearing(feed) != "lost":  # the server's goodbye may come a moment later
            assert feed.poll() == ()
        world.app("insert into customers values ('user_2')")
        assert feed.poll() == tuple(names("user_2"))
        time.now += PAUSE_S
        feed.poll()
        assert hearing(feed) == "hears"


def test_a_table_that_fails_is_complained_of_once_a_minute(world: World) -> None:
    time = Time()
    with world.outbox("anon") as outbox:
        feed = NudgeFeed(outbox, monotonic=time)
        with pytest.raises(SourceError):
            feed.poll()
        assert feed.poll() == ()
        time.now += PAUSE_S
        with pytest.raises(SourceError):
            feed.poll()
