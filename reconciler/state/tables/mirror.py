"""Tables of the mirror: each shop's customers as last observed, and the progress of each shop's mirror."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Index, Text, false
from sqlmodel import Field

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import Row, key_column, time_column


class MirrorRow(Row, table=True):
    """One customer. `observed` is compact JSON in the shop's names; `observed_fp` is its fingerprint, NULL if unknown now.

    `moved_at` is the last change of that. Rows marked `gone` stay, so that an older observation does not restore them.
    """

    __tablename__ = "reconciler_mirror"
    shopify_shop: str = Field(sa_column=key_column(primary_key=True))
    shopify_customer_id: str = Field(sa_column=key_column(primary_key=True))
    email_key: str | None = None
    phone_key: str | None = None
    backlink: str | None = None
    observed: str = Field(sa_column=Column(Text, nullable=False))
    observed_fp: int | None = Field(default=None, sa_column=Column(BigInteger()))
    seen_at: datetime = Field(sa_column=time_column(nullable=False))
    moved_at: datetime = Field(sa_column=time_column(nullable=False))
    updated_at: datetime | None = Field(default=None, sa_column=time_column())
    source: str
    gone: bool = Field(default=False, sa_column=Column(Boolean(), nullable=False, server_default=false()))
    __table_args__ = (
        # All that a scan reads of a row; the rest is not read unless something moved.
        Index("reconciler_mirror_held", "shopify_shop", "shopify_customer_id", "observed_fp", "gone"),
        Index("reconciler_mirror_moved", "shopify_shop", "moved_at"),
        Index("reconciler_mirror_backlink", "shopify_shop", "backlink"),
        Index("reconciler_mirror_email", "shopify_shop", "email_key"),
        Index("reconciler_mirror_phone", "shopify_shop", "phone_key"),
        {"schema": SCHEMA},
    )


class MirrorMarkRow(Row, table=True):
    """The progress of one shop's mirror."""

    __tablename__ = "reconciler_mirror_mark"
    shopify_shop: str = Field(primary_key=True)
    operation: str | None = None
    began_at: datetime | None = Field(default=None, sa_column=time_column())
    lines: int = Field(default=0, sa_column=Column(BigInteger(), nullable=False))
    expected: int | None = Field(default=None, sa_column=Column(BigInteger()))
    complete_at: datetime | None = Field(default=None, sa_column=time_column())
    listed_at: datetime | None = Field(default=None, sa_column=time_column())
    shape: str | None = None
    begun_shape: str | None = None
    __table_args__ = ({"schema": SCHEMA},)
