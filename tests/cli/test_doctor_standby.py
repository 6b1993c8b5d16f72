"""What `doctor` says of a profiles table on a standby."""

from __future__ import annotations

from reconciler.cli.checks.profiles import table_checks
from reconciler.settings import Settings
from reconciler.supabase.checks.inspection import Inspection


def test_doctor_warns_of_a_standby_that_may_lag() -> None:
    found = Inspection(
        kind="r", table="public.customers", key="id", updated="", role="reader", key_type="text",
        statement_timeout_ms=0, lock_timeout_ms=0, is_read_only=True, is_standby=True, is_unique=True, is_indexed=True,
        is_updated_indexed=True, email="", is_email_indexed=True, moved_by="", updated_by_default=False,
        may_insert=True, may_update=True, may_all=True, still=None,
    )  # fmt: skip
    said = [(check.what, check.level, check.hint) for check in table_checks(found, 10, Settings(version=1))]
    assert said == [("server", "warning", "set profiles.url to the primary server")]
