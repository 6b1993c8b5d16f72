"""Replaces what identifies a person in a plan by stable stand-ins, for pull requests that everybody can read.

The same value has the same stand-in throughout a document, and in later ones under the same key. So a reviewer sees that two
customers share an email, or that 400 users get the same value. Clerk ids, customer numbers, tags, locales and
reasons stay: they are what a reviewer decides by.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import replace
from typing import Final

from reconciler.core.decide.accepted import BY_FILE
from reconciler.core.model.action import AcceptedDrift, Action, Change, Hold
from reconciler.core.model.scalars import FIELDS
from reconciler.core.plan.plan import Plan, StorePlan, Unaffected
from reconciler.core.plan.series import with_each

SHOWN_FIELDS: Final = frozenset(
    {"tags", "backlink", *(name for name, field in FIELDS.items() if not field.is_personal)}
)
EMAIL: Final = re.compile(r"[^\s@<>()\[\],;:\"'`]+@[^\s@<>()\[\],;:\"'`]+\.[^\s@<>()\[\],;:\"'`.]+")
PHONE: Final = re.compile(r"(?<![\w/.-])\+\d[\d ()-]{5,}\d(?![\w])")
DIGITS: Final = 6  # of a stand-in: among ten thousand values, two share one about every third time
SHORTEST: Final = 3  # characters of a value that is looked for in messages


class Redaction:
    """Replaces personal values. `key` decides the stand-ins; without it no one can compute which value one has."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def plan(self, plan: Plan) -> Plan:
        """The plan without personal values; its digest and its counts are those of the real one."""
        return replace(plan, stores=tuple(self._store(store) for store in plan.stores))

    def _store(self, store: StorePlan) -> StorePlan:
        return replace(
            store,
            error=None if store.error is None else self.text(store.error),
            error_hint=self.text(store.error_hint),
            wave_error=self.text(store.wave_error),
            wave_hint=self.text(store.wave_hint),
            actions=with_each(store.actions, self._action),
            holds=with_each(store.holds, self._hold),
            accepted=tuple(self._accepted(each) for each in store.accepted),
            unaffected=tuple(self._unaffected(each) for each in store.unaffected),
        )

    def _accepted(self, accepted: AcceptedDrift) -> AcceptedDrift:
        by = accepted.by if accepted.by == BY_FILE else self._stand_in("operator", accepted.by) or ""
        return replace(accepted, change=self._change(accepted.change), by=by)

    def _unaffected(self, unaffected: Unaffected) -> Unaffected:
        name = unaffected.name
        if name != unaffected.clerk_user_id:
            name = self._stand_in("name", name) or ""
        answer = name + unaffected.answer.removeprefix(unaffected.name)
        return replace(unaffected, name=name, answer=self.text(answer))

    def _action(self, action: Action) -> Action:
        return replace(
            action,
            changes=tuple(self._change(change) for change in action.changes),
            email=self._stand_in("email", action.email),
            name=self._stand_in("name", action.name),
        )

    def _change(self, change: Change) -> Change:
        if change.field in SHOWN_FIELDS:
            return change
        before, after = (self._stand_in(_kind(change), value) for value in (change.before, change.after))
        return replace(change, before=before, after=after)

    def _hold(self, hold: Hold) -> Hold:
        message = hold.message
        if hold.action is not None:
            kinds = _kinds(hold.action)
            for value in sorted(kinds, key=len, reverse=True):
                message = message.replace(value, self._stand_in(kinds[value], value) or "")
        action = None if hold.action is None else self._action(hold.action)
        return replace(hold, message=self.text(message), action=action)

    def text(self, text: str) -> str:
        """The text with its emails and phones replaced."""
        text = EMAIL.sub(lambda found: self._stand_in("email", found[0]) or "", text)
        return PHONE.sub(lambda found: self._stand_in("phone", found[0]) or "", text)

    def _stand_in(self, kind: str, value: object) -> str | None:
        """`email-3f9a01` for a value; None for None."""
        if value is None:
            return None
        known = str(value).strip().casefold() if kind == "email" else str(value)
        digest = hmac.new(self._key, f"{kind}\0{known}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return f"{kind}-{digest[:DIGITS]}"


def _kinds(action: Action) -> dict[str, str]:
    """The personal values in an action that a message might quote, and of which kind each is."""
    found = {value: _kind(c) for c in action.changes if c.field not in SHOWN_FIELDS for value in (c.before, c.after)}
    found |= dict.fromkeys((action.name, *(action.name or "").split()), "name")
    found |= {action.email: "email"}
    return {value: kind for value, kind in found.items() if isinstance(value, str) and len(value) >= SHORTEST}


def _kind(change: Change) -> str:
    return change.field.rpartition(".")[2]
