"""`TokenTable`: rotated token pairs, encrypted. `AppliedPlanTable`: the sealed plans that were applied."""

import base64
import hashlib
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine, Table, select
from sqlmodel import Field

from reconciler.core.model.ids import ShopDomain
from reconciler.errors import ConfigError
from reconciler.state.database.engine import SCHEMA, writing
from reconciler.state.database.queries import Database
from reconciler.state.tables.mappings import Row, time_column

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class AppliedPlanRow(Row, table=True):
    """Sealed plans that were applied; each can be applied once."""

    __tablename__ = "reconciler_applied_plan"
    digest: str = Field(primary_key=True)
    applied_at: datetime = Field(sa_column=time_column(nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


class TokenRow(Row, table=True):
    """A rotated token pair, encrypted: the only secret that is stored."""

    __tablename__ = "reconciler_token"
    shopify_shop: str = Field(primary_key=True)
    sealed: str
    stored_at: datetime = Field(sa_column=time_column(nullable=False))
    __table_args__ = ({"schema": SCHEMA},)


_plan: Table = AppliedPlanRow.__table__
_token: Table = TokenRow.__table__


class TokenTable(Database):
    """Token pairs by shop, encrypted with a key derived from RECONCILER_SECRET_KEY."""

    def __init__(self, engine: Engine, *, secret_key: str | None = None) -> None:
        super().__init__(engine)
        self._secret_key = secret_key

    def load_tokens(self, shop: ShopDomain) -> str | None:
        """Return the shop's token pair as stored, or None. Raises ConfigError without the right key."""
        rows = self._rows(select(_token.c.sealed).where(_token.c.shopify_shop == shop))
        if not rows:
            return None
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  most shops' tokens don't rotate

        try:
            return self._fernet().decrypt(rows[0][0].encode()).decode()
        except InvalidToken as error:
            raise ConfigError(
                f"the stored tokens of {shop} were sealed with another key",
                hint="set RECONCILER_SECRET_KEY to its previous value",
            ) from error

    def store_tokens(self, shop: ShopDomain, tokens: str, at: datetime) -> None:
        """Store a rotated token pair, encrypted."""
        row = {"shopify_shop": shop, "sealed": self._fernet().encrypt(tokens.encode()).decode(), "stored_at": at}
        with writing(self._engine) as connection:
            self._upsert(connection, _token, [row])

    def _fernet(self) -> "Fernet":
        if not self._secret_key:
            raise ConfigError(
                "rotating tokens must be stored, and there is no key to encrypt them", hint="set RECONCILER_SECRET_KEY"
            )
        from cryptography.fernet import Fernet  # noqa: PLC0415  as above

        return Fernet(base64.urlsafe_b64encode(hashlib.sha256(self._secret_key.encode()).digest()))


class AppliedPlanTable(Database):
    """Sealed plans: each can be applied once."""

    def mark_applied(self, digest: str, at: datetime) -> bool:
        """Record that this sealed plan is being applied; return False if it already was."""
        with writing(self._engine) as connection:
            return self._insert_new(connection, _plan, {"digest": digest, "applied_at": at})
