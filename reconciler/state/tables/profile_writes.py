"""Table of changes from Clerk: their time, what is still to be written, and what the profiles table refused."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, String, Text
from sqlmodel import Field

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import Row, UtcDateTime, json_column, time_column

_KEY = String().with_variant(String(collation="C"), "postgresql")


class ProfileWriteRow(Row, table=True):
    """One user with a change from Clerk.

    `newest_at` is Clerk's time of the newest accepted change. `deleted_at` is a tombstone: later changes are ignored.
    `pending` is what is still to be written, `due_at` when (NULL: nothing is due), `last` Clerk's values at the last write.
    These three and `message` hold personal data, and so does `email_key`, by which erasure finds them, and `phone_key`, by
    which a row that is still to be written is found.
    `generation` grows with each accepted change, `fencing` with each claim. `missing`: the row did not exist when the write
    was refused.
    """

    __tablename__ = "reconciler_profile_write"
    clerk_user_id: str = Field(sa_column=Column(_KEY, primary_key=True))
    newest_at: datetime | None = Field(default=None, sa_column=time_column())
    deleted_at: datetime | None = Field(default=None, sa_column=time_column())
    last: dict[str, Any] | None = Field(default=None, sa_column=json_column(nullable=True))
    pending: dict[str, Any] | None = Field(default=None, sa_column=json_column(nullable=True))
    email_key: str | None = None
    phone_key: str | None = None
    due_at: datetime | None = Field(default=None, sa_column=time_column())
    generation: int = Field(sa_column=Column(BigInteger(), nullable=False))
    fencing: int = Field(sa_column=Column(BigInteger(), nullable=False))
    lease_until: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    attempts: int = Field(sa_column=Column(Integer(), nullable=False))
    message: str | None = Field(default=None, sa_column=Column(Text))
    missing: bool = False
    refused_at: datetime | None = Field(default=None, sa_column=time_column())
    __table_args__ = (
        Index("reconciler_profile_write_due", "due_at"),
        Index("reconciler_profile_write_email", "email_key"),
        Index("reconciler_profile_write_phone", "phone_key"),
        Index("reconciler_profile_write_refused", "refused_at"),
        {"schema": SCHEMA},
    )
