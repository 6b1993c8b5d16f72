"""All errors of the program, split by who acts next.

::

    ReconcilerError
    ├── CallError                 a call failed, for one user or store: the work on the others continues
    │   ├── TemporaryError        time: wait and try again
    │   │   ├── AnswerLost        sent, with an unknown result: observe before sending again
    │   │   ├── PartUnreadable    a part of an answer about many cannot be read: ask for fewer
    │   │   └── Throttled         the bucket was empty
    │   ├── PermanentError        an operator or the profile: report it, do not try again
    │   │   ├── Refused           Shopify refused a write, field by field
    │   │   └── SetupError        the shop lacks something `bootstrap` makes
    │   └── AccessError           one store is suspended, the others continue
    ├── SourceError               the profiles cannot be trusted now: release no user, clear nothing
    │   └── SourceBusy            a TemporaryError too: the table is locked or slow, read it later
    ├── StateError                our own database cannot be used
    ├── LeaseLost                 another replica has taken the work over: drop it
    ├── PlanRefused               a saved plan no longer fits
    ├── Unauthentic               a webhook without a valid signature: no one acts
    ├── NotAnEvent                an authentic webhook with a body that is no event: no one acts
    ├── ConfigError               a file is wrong: refuse to start
    └── UsageError                the command line is wrong

A message names the values and what to do, never a secret, and no personal data but the Clerk id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TEMPORARY_SPACE: Final = "free space where temporary files are kept, or name another place by TMPDIR"


class ReconcilerError(Exception):
    """The root of all errors. `hint` says in one line what to do next; it is empty if the message says so."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CallError(ReconcilerError):
    """A call failed, for one user or one store: the work on the others continues."""


class TemporaryError(CallError):
    """It passes with time. `retry_after_s` is what the other side asked for, or None."""

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class AnswerLost(TemporaryError):
    """The request was sent and no complete answer came back: it may have been executed."""


class PartUnreadable(TemporaryError):
    """An answer about many customers came, and the part of one of them failed or makes no sense."""


class Throttled(TemporaryError):
    """The shop's bucket did not hold what the call asked for."""


class PermanentError(CallError):
    """Trying again changes nothing: an operator or the profile must act."""


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


class AccessError(CallError):
    """This store cannot be used now: token, scope, frozen, locked or uninstalled. The others continue."""


class SourceError(ReconcilerError):
    """The profiles cannot be read in full; nothing may be concluded from what is missing."""


class SourceBusy(TemporaryError, SourceError):
    """The profiles could not be read within the time limit of a read. Nothing is held on the table: read again later."""


class StateError(ReconcilerError):
    """Our own database does not answer, is older than this program, or is not ours."""


class LeaseLost(ReconcilerError):
    """Another replica has taken this work over, because our lease had ended: the work must be dropped."""


class PlanRefused(ReconcilerError):
    """A saved plan no longer fits the shop, the config or its own seal."""


class Unauthentic(ReconcilerError):
    """A webhook with a wrong signature, time or sender."""


class NotAnEvent(ReconcilerError):
    """A webhook with a valid signature, and with a body that its sender does not document."""


class ConfigError(ReconcilerError):
    """A settings file or an environment variable is wrong."""


class UsageError(ReconcilerError):
    """The command line asks for something that is not possible."""
