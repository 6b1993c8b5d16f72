"""What may be set, as pydantic models. Secrets are SecretStr, database URLs are shown without their password."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

from reconciler.core.model.profile import PROFILE_FIELDS
from reconciler.core.model.rollout import YEAR_S, RolloutSettings
from reconciler.core.model.scalars import LATER
from reconciler.core.model.store import Store, TrustEmail
from reconciler.settings.values import DatabaseUrl, Number, SigningKey, Token, Version, origin, weekdays

TokenRole = Literal["viewer", "operator", "nudge"]
COLUMNS = ("clerk_user_id", "full_name", *PROFILE_FIELDS)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class StateSettings(_Part):
    """Our own database."""

    url: DatabaseUrl = Field(
        default="sqlite:///var/reconciler.db",
        repr=False,
        description="sqlite:///FILE (relative to the working directory) or postgresql://…",
    )


def _default_columns() -> dict[str, str]:
    """As in the shipped file; full_name is for tables that lack the two names, and tables may lack later fields."""
    left_out = {"full_name", *LATER}
    return {field: "avatar_url" if field == "image_url" else field for field in COLUMNS if field not in left_out}


class ProfileSettings(_Part):
    """The table or view of profiles, and which of its columns mean what."""

    url: DatabaseUrl | None = Field(
        default=None, repr=False, description="the database of the profiles; default: state.url"
    )
    table: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        default="public.customers", description="a table or a view; on SQLite the default is `customers`"
    )
    columns: dict[str, Annotated[str, StringConstraints(min_length=1)]] = Field(
        default_factory=_default_columns, description="ours: theirs; all but clerk_user_id may be left out"
    )
    trust_email: TrustEmail = Field(
        default="verified",
        description="which emails may be used to adopt a customer; `verified` needs the column email_verified",
    )

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in COLUMNS:
                raise ValueError(f"'{name}' is not a field of a profile: use {', '.join(COLUMNS)}")
        if "clerk_user_id" not in columns:
            raise ValueError("clerk_user_id must be mapped: it is the key")
        return columns

    @model_validator(mode="after")
    def _verified_needs_its_column(self) -> Self:
        if self.trust_email == "verified" and "email" in self.columns and "email_verified" not in self.columns:
            raise ValueError(
                "trust_email: verified needs columns.email_verified; map it, or say trust_email: always or never"
            )
        return self


class ClerkSettings(_Part):
    """Clerk's webhooks and API."""

    webhook_secrets: tuple[SigningKey, ...] = Field(
        default=(), description="signing secrets (whsec_…) of the endpoint; several during a rotation"
    )
    secret_key: Token | None = Field(
        default=None, description="sk_live_… or sk_test_…: for backfill, and to confirm that a user is gone"
    )
    api_url: str = Field(default="https://api.clerk.com/v1", description="Clerk's Backend API")
    upsert_profiles: bool = Field(default=False, description="true: a webhook also writes the profile row")
    instance_id: str | None = Field(default=None, description="ins_…: events of any other Clerk instance are ignored")

    @field_validator("api_url")
    @classmethod
    def _address(cls, url: str) -> str:
        return origin(url, name="api_url", path=True)


class ControllerSettings(_Part):
    """The always-on half."""

    workers: Number = Field(default=8, ge=1, le=256, description="threads that reconcile users")
    resync_s: float = Field(
        default=900, gt=0, le=YEAR_S, allow_inf_nan=False, description="seconds between incremental resyncs of a store"
    )
    full_resync_cron: str = Field(
        default="0 3 * * *", description="when full resyncs start: minute, hour, day, month, weekday, in UTC"
    )

    absence_grace_s: float = Field(
        default=300,
        ge=0,
        le=YEAR_S,
        allow_inf_nan=False,
        description="a user is released if every read for so many seconds has missed the row",
    )

    @field_validator("full_resync_cron")
    @classmethod
    def _cron(cls, expression: str) -> str:
        """Weekdays by name: cron counts them from Sunday as 0, the scheduler from Monday."""
        from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  most commands know no hours

        fields = expression.split()
        try:
            expression = " ".join([*fields[:4], *(weekdays(field) for field in fields[4:])])
            trigger = CronTrigger.from_crontab(expression, timezone="UTC")
        except ValueError as error:
            raise ValueError(f"it is no cron expression such as 0 3 * * *: {error}") from error
        if trigger.get_next_fire_time(None, datetime(2000, 1, 1, tzinfo=UTC)) is None:
            raise ValueError("no such day ever comes: correct day and month")
        return expression


class NamedToken(_Part):
    """A token of one person or program."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,50}$")] = Field(
        description="who has it; acts are recorded with it"
    )
    role: TokenRole = Field(description="viewer: read; operator: read, act and nudge; nudge: only nudge")
    token: Token


class ServerSettings(_Part):
    """Where `run` listens."""

    host: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = "127.0.0.1"
    port: Number = Field(default=8080, ge=0, le=65535, description="0: any free port")
    public_url: str = Field(default="", description="https://…, the address for webhooks; `bootstrap` subscribes it")
    console_token: Token | None = Field(
        default=None, description="an operator's token: reads, acts and nudges; its name is `console`"
    )
    viewer_token: Token | None = Field(
        default=None, description="a token that may only read the console and the API; its name is `viewer`"
    )
    nudge_token: Token | None = Field(
        default=None, description="a token that may only nudge, for database webhooks; its name is `nudge`"
    )
    tokens: tuple[NamedToken, ...] = Field(default=(), description="more tokens, each with `name`, `role` and `token`")

    @property
    def access_tokens(self) -> tuple[NamedToken, ...]:
        """All tokens that are set, the three of their own keys first."""
        own: tuple[tuple[str, TokenRole, SecretStr | None], ...] = (
            ("console", "operator", self.console_token),
            ("viewer", "viewer", self.viewer_token),
            ("nudge", "nudge", self.nudge_token),
        )
        named = [NamedToken(name=name, role=role, token=token) for name, role, token in own if token is not None]
        return tuple(one for one in (*named, *self.tokens) if one.token.get_secret_value())

    @model_validator(mode="after")
    def _distinct_tokens(self) -> Self:
        names = [one.name for one in self.access_tokens]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two tokens have the name '{name}'")
        if len({one.token.get_secret_value() for one in self.access_tokens}) < len(names):
            raise ValueError("two tokens have the same value: the value decides the role, so each needs its own")
        return self

    @field_validator("public_url")
    @classmethod
    def _address(cls, url: str) -> str:
        return origin(url, name="public_url", path=True) if url else ""


class NotificationSettings(_Part):
    """Where `run` tells that something needs a person."""

    url: SecretStr | None = Field(
        default=None, description='a webhook that takes {"text": …}, such as Slack\'s; http only to loopback'
    )

    @field_validator("url")
    @classmethod
    def _address(cls, url: SecretStr | None) -> SecretStr | None:
        text = url.get_secret_value().strip() if url is not None else ""
        return SecretStr(origin(text, name="url", path=True)) if text else None


class Settings(_Part):
    """config/reconciler.yaml."""

    version: Version = Field(description="version of the file format")
    state: StateSettings = StateSettings()
    profiles: ProfileSettings = ProfileSettings()
    clerk: ClerkSettings = ClerkSettings()
    controller: ControllerSettings = ControllerSettings()
    server: ServerSettings = ServerSettings()
    notifications: NotificationSettings = NotificationSettings()

    @model_validator(mode="before")
    @classmethod
    def _table_of_sqlite(cls, data: Any) -> Any:
        """Default the table to `customers` on SQLite, which has no schema `public`."""
        if not isinstance(data, Mapping):
            return data
        profiles = data.get("profiles", {})
        state = data.get("state", {})
        if not isinstance(profiles, Mapping) or "table" in profiles or not isinstance(state, Mapping):
            return data
        url = profiles.get("url") or state.get("url") or StateSettings().url
        return {**data, "profiles": {**profiles, "table": "customers"}} if str(url).startswith("sqlite") else data


class AuthSettings(_Part):
    """A fixed token; or client credentials, with or without a rotating refresh token."""

    access_token: Token | None = Field(default=None, description="shpat_…: a fixed token of a custom app")
    client_id: str | None = Field(default=None, description="client credentials, for shops of your organisation")
    client_secret: Token | None = None
    refresh_token: Token | None = Field(
        default=None, description="with both above: a token pair that rotates; needs RECONCILER_SECRET_KEY"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        fixed = self.access_token is not None
        client = self.client_id is not None and self.client_secret is not None
        half = (self.client_id is None) != (self.client_secret is None)
        if half or (fixed and (client or self.refresh_token is not None)) or (self.refresh_token and not client):
            raise ValueError("set access_token, or client_id and client_secret, or these and refresh_token")
        return self


class StoreSettings(Store):
    """One store of stores.yaml: its policy, and the access to its shop."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_version: Annotated[str, StringConstraints(pattern=r"^20\d\d-(01|04|07|10)$")] = Field(
        default="2026-10", exclude=True, description="version of Shopify's Admin API: year and quarter"
    )
    admin_url: str | None = Field(
        default=None, exclude=True, description="replaces https://SHOP: scheme, host and port; http only to loopback"
    )
    auth: AuthSettings = Field(default=AuthSettings(), exclude=True)
    webhook_secret: Token | None = Field(
        default=None, exclude=True, description="signs Shopify's webhooks: the app's client secret"
    )

    @field_validator("admin_url")
    @classmethod
    def _plainorigin(cls, url: str | None) -> str | None:
        return origin(url, name="admin_url") if url else None

    @field_validator("where")
    @classmethod
    def _selectors(cls, where: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse selectors that can't match, such as a misspelt column: they would release all users."""
        for path, rule in where.items():
            head, _, rest = path.partition(".")
            if head == "metadata" and isinstance(rule, Mapping):
                inner = next(iter(rule), "…")
                raise ValueError(f"write `metadata.{inner}: …` instead of a mapping below metadata")
            if head not in COLUMNS or head == "full_name" or bool(rest) != (head == "metadata"):
                near = difflib.get_close_matches(head, COLUMNS, n=1, cutoff=0.5)
                meant = f"did you mean '{near[0]}'?" if near else f"use metadata.… or {', '.join(PROFILE_FIELDS)}"
                raise ValueError(f"'{path}' is not a field of a profile; {meant}")
            options = rule if isinstance(rule, list | tuple) else [rule]
            if not options:
                raise ValueError(f"'{path}' has an empty list, which matches no user")
            if any(isinstance(option, Mapping | list | tuple) for option in options):
                raise ValueError(f"'{path}' takes one value, or a list of values")
        return where


class StoresFile(_Part):
    """stores.yaml."""

    version: Version = Field(description="version of the file format")
    rollout: RolloutSettings = RolloutSettings()
    defaults: dict[str, Any] = Field(default={}, description="any key of a store except name and shop")
    stores: tuple[StoreSettings, ...] = Field(min_length=1)
