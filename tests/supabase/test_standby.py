"""Profiles on a standby, which may lag behind another server."""

from __future__ import annotations

from contextlib import closing

import pytest

from reconciler.core.model.ids import ClerkUserId
from reconciler.supabase.reading.profiles import TableProfiles
from tests import servers

ADA = ClerkUserId("user_a")


@pytest.mark.slow
def test_a_row_of_a_standby_is_known_to_be_from_one_and_after_a_failover_it_is_not() -> None:
    with servers.postgres() as server:
        with server.connect() as owner:
            owner.execute("CREATE TABLE customers (id text PRIMARY KEY); INSERT INTO customers VALUES ('user_a')")
        reader = TableProfiles(server.url("postgres"), "public.customers", {"clerk_user_id": "id"})
        assert not reader.get([ADA])[ADA].may_lag
        signal = server.folder / "data" / "standby.signal"
        with server.away():
            signal.touch()
        assert reader.get([ADA])[ADA].may_lag
        assert [[profile.may_lag for profile in profiles] for profiles in reader.scan()] == [[True]]
        with server.away():
            signal.unlink()
        assert not reader.get([ADA])[ADA].may_lag
        reader.close()


@pytest.mark.slow
def test_a_pooler_that_leads_to_a_standby_since_a_failover_does_not_hide_it() -> None:
    with servers.postgres() as server:
        with server.connect() as owner:
            owner.execute("CREATE TABLE customers (id text PRIMARY KEY); INSERT INTO customers VALUES ('user_a')")
        with servers.pgbouncer(server) as port:

            def may_lag() -> bool:
                url = server.url("postgres", port=port)
                with closing(TableProfiles(url, "public.customers", {"clerk_user_id": "id"})) as reader:
                    return reader.get([ADA])[ADA].may_lag

            assert not may_lag()
            signal = server.folder / "data" / "standby.signal"
            with server.away():
                signal.touch()
            assert may_lag()
            with server.away():
                signal.unlink()
            assert not may_lag()
