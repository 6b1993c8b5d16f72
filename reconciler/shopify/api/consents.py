"""Marketing consent in Shopify's names: what is selected of it, and what a reply shows.

It is read with the default email and the default phone: an object costs a point, and its scalars nothing. All of Shopify's
versions from 2025-04 on have them there (changelog, read 2026-11-30).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from reconciler.core.model.consent import Channel, Consent
from reconciler.shopify.api.shapes import ConsentNode, Moment, utc

MEMBERS: Final[Mapping[Channel, str]] = {"email": "defaultEmailAddress", "sms": "defaultPhoneNumber"}
"""The member of a customer that has the consent."""
_SELECTION: Final = "marketingState marketingOptInLevel marketingUpdatedAt"


def with_consents(text: str, channels: Iterable[Channel]) -> str:
    """The document with these consents beside the email and the phone; unchanged without any."""
    for channel in channels:
        member = f"{MEMBERS[channel]} {{ "
        assert member in text, f"the document does not read {MEMBERS[channel]}"
        text = text.replace(member, f"{member}{_SELECTION} ")
    return text


def line_members(channels: Iterable[Channel]) -> dict[str, list[tuple[Any, ...]]]:
    """What a line of a bulk query has of these consents, as `more` of `scalars.members`."""
    names = {"marketingState": str, "marketingOptInLevel": str, "marketingUpdatedAt": Moment}
    return {MEMBERS[channel]: [(name, type_ | None, None) for name, type_ in names.items()] for channel in channels}


def consents_in(line: object, channels: Iterable[Channel]) -> dict[Channel, Consent]:
    """The consents in a line of a bulk query."""
    there = ((channel, getattr(line, MEMBERS[channel])) for channel in channels)
    return {
        channel: _consent(node.marketingState, node.marketingOptInLevel, node.marketingUpdatedAt)
        for channel, node in there
        if node is not None and node.marketingState is not None
    }


def consent_of(node: ConsentNode) -> Consent:
    """The consent that is shown."""
    return _consent(node.marketing_state, node.marketing_opt_in_level, node.marketing_updated_at)


def _consent(state: str, level: str | None, at: datetime | None) -> Consent:
    seen = utc(at).replace(microsecond=0) if at is not None else None
    return Consent(state=state, at=seen, level=level)
