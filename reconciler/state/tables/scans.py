"""Tables of scans: their progress, and what they found until they end."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, String
from sqlmodel import Field

from reconciler.state.database.engine import SCHEMA
from reconciler.state.tables.mappings import Row, UtcDateTime, json_column

_KEY = String().with_variant(String(collation="C"), "postgresql")


class ScanRow(Row, table=True):
    """One kind of scan of one shop: the running one, or the last."""

    __tablename__ = "reconciler_sweep"
    shopify_shop: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    started_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    cursor: str | None = None
    finished_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    watermark: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    looked_at: int = Field(sa_column=Column(BigInteger(), nullable=False))
    wanted: int = Field(sa_column=Column(BigInteger(), nullable=False))
    total: int | None = Field(default=None, sa_column=Column(BigInteger()))
    counted: list[str] | None = Field(default=None, sa_column=json_column(nullable=True))
    __table_args__ = ({"schema": SCHEMA},)


class FindingRow(Row, table=True):
    """A user who needs a reconcile, until the scan that found them ends."""

    __tablename__ = "reconciler_finding"
    shopify_shop: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    clerk_user_id: str = Field(sa_column=Column(_KEY, primary_key=True))
    action: str
    __table_args__ = (
        Index("reconciler_finding_action", "shopify_shop", "kind", "action", "clerk_user_id"),
        {"schema": SCHEMA},
    )
