"""What may be set, as pydantic models. Secrets are SecretStr and never shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from apscheduler.triggers.cron import CronTrigger
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

from reconciler.core.dburl import is_loopback, rewritten
from reconciler.core.profile import PROFILE_FIELDS
from reconciler.core.store import Store, TrustEmail
from reconciler.errors import ConfigError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _database(url: str) -> str:
    try:
        rewritten(url)
    except ConfigError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error
    return url


class StateSettings(_Part):
    """Our own database."""

    url: str = Field(default="sqlite:///var/reconciler.db", repr=False)

    _check = field_validator("url")(_database)


def _default_columns() -> dict[str, str]:
    theirs = {"image_url": "avatar_url"}
    return {"clerk_user_id": "clerk_user_id", "full_name": "display_name"} | {
        f: theirs.get(f, f) for f in PROFILE_FIELDS
    }


class ProfileSettings(_Part):
    """The table or view of profiles, and which of its columns mean what."""

    url: str | None = Field(default=None, repr=False, description="default: state.url")
    table: str = "public.customers"
    columns: dict[str, str] = Field(default_factory=_default_columns, description="ours: theirs")
    trust_email: TrustEmail = "verified"

    @field_validator("url")
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        return _database(url) if url else None

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        known = ("clerk_user_id", "full_name", *PROFILE_FIELDS)
        for name in columns:
            if name not in known:
                raise ValueError(f"'{name}' is no field of a profile: use {', '.join(known)}")
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

    webhook_secrets: tuple[SecretStr, ...] = ()
    secret_key: SecretStr | None = None
    api_url: str = "https://api.clerk.com/v1"
    upsert_profiles: bool = False
    instance_id: str | None = None


class ControllerSettings(_Part):
    """The always-on half."""

    workers: int = Field(default=8, ge=1, le=256)
    resync_s: float = Field(default=900, gt=0)
    full_resync_cron: str = "0 3 * * *"

    @field_validator("full_resync_cron")
    @classmethod
    def _cron(cls, expression: str) -> str:
        CronTrigger.from_crontab(expression, timezone="UTC")
        return expression


class ServerSettings(_Part):
    """Where `run` listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    console_token: SecretStr | None = None


class Settings(_Part):
    """config/reconciler.yaml."""

    version: Literal[1]
    state: StateSettings = StateSettings()
    profiles: ProfileSettings = ProfileSettings()
    clerk: ClerkSettings = ClerkSettings()
    controller: ControllerSettings = ControllerSettings()
    server: ServerSettings = ServerSettings()


class AuthSettings(_Part):
    """A fixed token; or client credentials; or those and a refresh token that rotates."""

    access_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        fixed = self.access_token is not None
        client = self.client_id is not None and self.client_secret is not None
        half = (self.client_id is None) != (self.client_secret is None)
        if half or (fixed and (client or self.refresh_token is not None)) or (self.refresh_token and not client):
            raise ValueError("say access_token, or client_id and client_secret, or those and refresh_token")
        return self


class StoreSettings(Store):
    """One store of stores.yaml: its policy, and how its shop is called."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    api_version: Annotated[str, StringConstraints(pattern=r"^20\d\d-(01|04|07|10)$")] = Field(
        default="2026-10", exclude=True
    )
    admin_url: str | None = Field(default=None, exclude=True)
    auth: AuthSettings = Field(default=AuthSettings(), exclude=True)
    webhook_secret: SecretStr | None = Field(default=None, exclude=True)

    @field_validator("admin_url")
    @classmethod
    def _plain_origin(cls, url: str | None) -> str | None:
        if not url:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("admin_url is scheme, host and port, such as https://acme.example")
        if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("admin_url is scheme, host and port only")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("plain http is allowed to loopback only: a token would travel in the open")
        return url.rstrip("/")


class StoresFile(_Part):
    """stores.yaml."""

    version: Literal[1]
    defaults: dict[str, Any] = {}
    stores: tuple[StoreSettings, ...] = Field(min_length=1)
