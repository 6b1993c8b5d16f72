"""Table of changes from Clerk: their time, what is still to be written, and what the profiles table refused."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import UtcDateTime, json_column, metadata, time_column

_KEY = String().with_variant(String(collation="C"), "postgresql")


# One user with a change from Clerk.
#
# `newest_at` is Clerk's time of the newest accepted change. `deleted_at` is a tombstone: later changes are ignored.
# `pending` is what is still to be written, `due_at` when (NULL: nothing is due), `last` Clerk's values at the last write.
# These three and `message` hold personal data, and so does `email_key`, by which erasure finds them.
# `generation` grows with each accepted change, `fencing` with each claim. `missing`: the row did not exist when the write
# was refused.
profile_write_table = Table(
    "reconciler_profile_write",
    metadata,
    Column("clerk_user_id", _KEY, primary_key=True),
    time_column("newest_at"),
    time_column("deleted_at"),
    json_column("last", nullable=True),
    json_column("pending", nullable=True),
    Column("email_key", String),
    time_column("due_at"),
    Column("generation", BigInteger, nullable=False),
    Column("fencing", BigInteger, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("message", Text),
    Column("missing", Boolean, nullable=False, default=False),
    time_column("refused_at"),
    Index("reconciler_profile_write_due", "due_at"),
    Index("reconciler_profile_write_email", "email_key"),
    Index("reconciler_profile_write_refused", "refused_at"),
    schema=SCHEMA,
)
