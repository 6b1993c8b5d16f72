"""What `explain` says of marketing consent: the decision, why, and the proof of what was written."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reconciler.core.model.consent import ADDRESSES, Channel, Judged, Outcome, Said, field_of, utc_text
from reconciler.core.model.event import Event
from reconciler.core.model.frozen import frozen
from reconciler.core.model.store import Store
from reconciler.core.model.values import Value
from reconciler.core.model.view import Decision


@frozen(kw_only=True)
class ConsentProof:
    """One consent that was written: when, by which run (None: a request of the queue), and the consents before and after."""

    at: str
    run_id: int | None
    customer_id: str | None
    before: Value
    consent: Value


@frozen(kw_only=True)
class ExplainedConsent:
    """One consent: what the profile says and where, what Shopify shows, what follows and why, and what was written.

    `outcome` None: nothing was decided about it, since the user is held, or the store no longer manages it.
    """

    channel: Channel
    source: str | None = None
    level: str | None = None
    granted: bool | None = None
    at: str | None = None
    shown: str | None = None
    outcome: Outcome | None = None
    why: str | None = None
    written: tuple[ConsentProof, ...] = ()


def explain_consents(store: Store, decision: Decision, events: Iterable[Event]) -> tuple[ExplainedConsent, ...]:
    """The consents that the store manages, and those that were written for this user."""
    judged = {each.channel: each for each in decision.consents}
    written = [(event, change) for event in events for change in event.changes]
    found = []
    for channel in ADDRESSES:
        proofs = tuple(
            ConsentProof(
                at=_text(event.at) or "",
                run_id=event.run_id,
                customer_id=event.customer_id,
                before=change.before,
                consent=change.after,
            )
            for event, change in written
            if change.field == field_of(channel)
        )
        if channel in store.consent.channels or proofs:
            found.append(_explained(channel, store, decision, judged.get(channel), proofs))
    return tuple(found)


def _explained(
    channel: Channel, store: Store, decision: Decision, judged: Judged | None, proofs: tuple[ConsentProof, ...]
) -> ExplainedConsent:
    rule = store.consent.rules.get(channel)
    if rule is None:
        return ExplainedConsent(channel=channel, why="the store does not manage it", written=proofs)
    said = decision.spec.consents.get(channel, Said()) if decision.spec is not None else Said()
    shown = decision.customer.consents.get(channel) if decision.customer is not None else None
    if judged is not None:
        said, shown = judged.said, judged.shown
    return ExplainedConsent(
        channel=channel,
        source=rule.source,
        level=rule.level,
        granted=said.granted,
        at=_text(said.at),
        shown=str(shown) if shown is not None else None,
        outcome=judged.outcome if judged is not None else None,
        why=judged.why if judged is not None else None,
        written=proofs,
    )


def _text(at: datetime | None) -> str | None:
    return utc_text(at) if at is not None else None
