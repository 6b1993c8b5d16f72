"""All errors of the house, split by who acts next.

::

    ReconcilerError
    ├── TemporaryError            time: wait and look again
    │   ├── AnswerLost            sent, but nobody knows whether it arrived: look before sending again
    │   ├── PartUnreadable        an answer on many, of which some part can't be read: ask for fewer
    │   └── Throttled             the bucket was empty
    ├── PermanentError            a person or the profile: say so, don't try again
    │   ├── Refused               Shopify said no, field by field
    │   └── SetupError            the shop lacks something `bootstrap` makes
    ├── AccessError               one store is suspended, the others go on
    ├── SourceError               the profiles can't be trusted now: nobody is released, nothing is cleared
    │   └── SourceBusy            a TemporaryError as well: the table is locked or slow, read it again later
    ├── StateError                our own database can't be used
    ├── LeaseLost                 another replica has taken the work over: drop what is in hand, nobody need act
    ├── PlanRefused               a saved plan does not fit the world any more
    ├── Unauthentic               a webhook that is not from whom it says: nobody acts
    ├── NotAnEvent                an authentic webhook whose body makes no sense: nobody acts
    ├── ConfigError               a file is wrong: refuse to start
    └── UsageError                the command line is wrong

A message holds the values and the way out, never a secret nor personal data beyond the Clerk id.
"""

from __future__ import annotations

from dataclasses import dataclass


class ReconcilerError(Exception):
    """The one root. `hint` says what to do next, in one line; empty where the message says it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class TemporaryError(ReconcilerError):
    """Time heals it. `retry_after_s` is what the other side asked for, or None."""

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class AnswerLost(TemporaryError):
    """The request left and no whole answer came back: it may have been carried out."""


class PartUnreadable(TemporaryError):
    """An answer that tells of many customers came, and what it tells of one of them failed or makes no sense."""


class Throttled(TemporaryError):
    """The shop's bucket did not hold what the call asked for."""


class PermanentError(ReconcilerError):
    """Trying again changes nothing: a person, the profile or the config must change."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing Shopify refused: our field name (None: the whole), its code (may be empty) and its words."""

    field: str | None
    code: str
    message: str


class Refused(PermanentError):
    """Shopify refused a write; `refusals` says which field and why.

    Codes are those of `CustomerSetUserErrorCode`, or derived from the text where Shopify sends none:
    TAKEN, INVALID, NOT_FOUND, BLANK, TOO_LONG, STALE_OBJECT, HAS_ORDERS and so on.
    """

    def __init__(self, refusals: tuple[Refusal, ...], *, hint: str = "") -> None:
        super().__init__("; ".join(f"{r.field or 'customer'}: {r.message}" for r in refusals), hint=hint)
        self.refusals = refusals

    def has(self, code: str, field: str | None = None) -> bool:
        """Whether one refusal carries this code (and this field, if one is named)."""
        return any(r.code == code and (field is None or r.field == field) for r in self.refusals)


class SetupError(PermanentError):
    """The shop lacks something that `reconciler bootstrap` makes, such as the back-link's definition."""


class AccessError(ReconcilerError):
    """This store can't be used now: token, scope, frozen, locked or uninstalled. The others go on."""


class SourceError(ReconcilerError):
    """The profile source can't be read in full; nothing may be concluded from what is missing in it."""


class SourceBusy(TemporaryError, SourceError):
    """The profiles could not be read within the time that a read may take. Nothing is held any more: read again later."""


class StateError(ReconcilerError):
    """Our own database is away, older than this program, or not ours."""


class LeaseLost(ReconcilerError):
    """Another replica has taken this work over, since our lease had run out: what is in hand must be dropped."""


class PlanRefused(ReconcilerError):
    """A saved plan no longer fits the world, the config or its own seal."""


class Unauthentic(ReconcilerError):
    """A webhook whose signature, time or sender does not hold."""


class NotAnEvent(ReconcilerError):
    """A webhook that is signed rightly, and whose body is not what its sender promises."""


class ConfigError(ReconcilerError):
    """A settings file or an environment variable is wrong."""


class UsageError(ReconcilerError):
    """The command line asks for something that can't be."""
