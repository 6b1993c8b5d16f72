"""Marketing consent: the policy of a store, what a profile and a shop say, and what follows.

Shopify keeps one consent for the email and one for the phone of a customer: a state, a level, and the time of the answer.
It accepts three states and may show others, to which it may add (Admin API 2026-10, CustomerEmailMarketingState and
CustomerSmsMarketingState, read 2026-11-30). Times have whole seconds there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from reconciler.core.model.frozen import frozen

Channel = Literal["email", "sms"]
Level = Literal["single_opt_in", "confirmed_opt_in"]
Outcome = Literal["grant", "withdraw", "nothing", "unclear"]

ADDRESSES: Final[Mapping[Channel, Literal["email", "phone"]]] = {"email": "email", "sms": "phone"}
"""The scalar field to which a consent belongs."""
PREFIX: Final = "consent."
SUBSCRIBED, UNSUBSCRIBED, PENDING = "SUBSCRIBED", "UNSUBSCRIBED", "PENDING"
NEVER: Final = frozenset({"NOT_SUBSCRIBED", "NEVER_SUBSCRIBED"})
FIXED: Final = frozenset({"REDACTED", "INVALID"})
LEVELS: Final = frozenset({"SINGLE_OPT_IN", "CONFIRMED_OPT_IN"})
CLOCKS_APART: Final = timedelta(seconds=60)
"""How far the clocks of the app, of Shopify and of this machine may be apart; `doctor` warns above it."""
_TEXT = re.compile(r"(?P<state>\w+)(?:, at (?P<at>\S+Z))?(?:, (?P<level>\w+))?(?:, from (?P<source>.+))?", re.DOTALL)


class ConsentRule(BaseModel):
    """Where the answer of a user and its time are found, and what is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: str = Field(alias="from", description="metadata.a.b: whether the user agreed (yes or no)")
    at: str | None = Field(
        default=None, description="metadata.a.b: when the user said so; without it only the first yes is written"
    )
    level: Level = Field(default="single_opt_in", description="how the user agreed, as Shopify calls it")
    withdraw: bool = Field(default=False, description="true: a no in the profile unsubscribes, too")

    @field_validator("source", "at")
    @classmethod
    def _below_metadata(cls, path: str | None) -> str | None:
        if path is not None and not re.fullmatch(r"metadata(\.[^.]+)+", path):
            raise ValueError(f"'{path}' is not a path such as metadata.marketing.email")
        return path

    @field_validator("level", mode="before")
    @classmethod
    def _any_case(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level


class ConsentRules(BaseModel):
    """The consents that a store takes from the profiles. None: that one is never touched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    email: ConsentRule | None = Field(default=None, description="marketing by email")
    sms: ConsentRule | None = Field(default=None, description="marketing by text messages, to the customer's phone")

    @property
    def rules(self) -> dict[Channel, ConsentRule]:
        """The rules that are set."""
        found: dict[Channel, ConsentRule | None] = {"email": self.email, "sms": self.sms}
        return {channel: rule for channel, rule in found.items() if rule is not None}

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The consents that are managed."""
        return tuple(self.rules)


@frozen(kw_only=True)
class Consent:
    """One consent: a state, the time of the answer, its level, and the path in the profile that it was taken from."""

    state: str
    at: datetime | None = None
    level: str | None = None
    source: str | None = None

    def __str__(self) -> str:
        at = f"at {utc_text(self.at)}" if self.at is not None else ""
        source = f"from {self.source}" if self.source is not None else ""
        return ", ".join(part for part in (self.state, at, self.level or "", source) if part)

    @classmethod
    def parse(cls, text: str) -> Consent:
        """The consent that has this text."""
        found = _TEXT.fullmatch(text)
        assert found is not None, f"{text!r} is no consent"
        at = datetime.fromisoformat(found["at"]) if found["at"] is not None else None
        return cls(state=found["state"], at=at, level=found["level"], source=found["source"])


@frozen(kw_only=True)
class Said:
    """What a profile says of one consent. None: nothing, or nothing that can be read."""

    granted: bool | None = None
    at: datetime | None = None


@frozen(kw_only=True)
class Judged:
    """The decision about one consent, and why. `shown`: what the shop shows, `write` what is written.

    `used`: the consent of a customer who is subscribed as the user says, with the later time; it is not written any more.
    """

    channel: Channel
    said: Said
    shown: Consent | None
    outcome: Outcome
    why: str
    write: Consent | None = None
    used: Consent | None = None


def utc_text(at: datetime) -> str:
    """The time as Shopify writes it, in whole seconds; of any year, too."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def field_of(channel: Channel) -> str:
    """The name of this consent in changes: `consent.email`."""
    return f"{PREFIX}{channel}"


_CHANNELS = {field_of(channel): channel for channel in ADDRESSES}


def channel_of(field: str) -> Channel | None:
    """The consent that this field of a change is; None for any other field."""
    return _CHANNELS.get(field)


def is_consent(field: str) -> bool:
    """Whether this field of a change is a consent."""
    return field.startswith(PREFIX)
