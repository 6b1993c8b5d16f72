"""What a reply that is no success means, told apart and put into the house's own errors.

Facts of the Admin GraphQL API 2026-10 (read 2026-11-23): HTTP 200 is no success; `data` and `errors` may both be there; a
null beside ACCESS_DENIED was not shown to us and is never blank; after a mutation was sent, no whole answer means that it
may have been carried out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from reconciler.core.model.ids import ShopDomain
from reconciler.errors import (
    AccessError,
    AnswerLost,
    PartUnreadable,
    PermanentError,
    ReconcilerError,
    Refusal,
    Refused,
    SetupError,
    TemporaryError,
)
from reconciler.outbound.certificates import UNTRUSTED_HINT, is_untrusted
from reconciler.outbound.reading import MalformedError, words_of
from reconciler.shopify.document import Document

Path = tuple[str | int, ...]

ACCESS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("refuses the access token", "give the store a token that is good: `auth` in stores.yaml"),
    402: ("is frozen: its owner has to pay Shopify's bill", "nothing can be done until the shop is unfrozen"),
    403: ("forbids this app the call", "look at the app's scopes and install it anew: `reconciler doctor` names them"),
    404: (
        "is not there, or not this API version",
        "compare `shop`, `admin_url` and `api_version` in stores.yaml with the shop's own address",
    ),
    423: ("is locked by Shopify", "its owner has to settle this with Shopify"),
}
DEFECTS: Final = frozenset({400, 405, 406, 411, 413, 414, 415, 422})
MAYBE_DONE: Final = frozenset({408, 409})
NOT_DONE: Final = frozenset({501, 503, 505, 530, 540})
"""Of the statuses from 500 on. After all others a mutation may have been carried out: the answer broke or timed out on its
way back, also by the statuses of what stands before Shopify (520 to 529)."""
DEFECT_CODES: Final = frozenset(
    {
        "MAX_COST_EXCEEDED", "INVALID_VARIABLE", "MAX_INPUT_SIZE_EXCEEDED", "BAD_REQUEST", "PARSE_ERROR", "INVALID",
        "MISSING_ARGUMENT", "undefinedField", "missingRequiredArguments", "argumentLiteralsIncompatible",
        "argumentNotAccepted", "selectionMismatch", "variableMismatch", "variableNotDefined", "variableNotUsed",
        "undefinedType", "missingRequiredInputObjectAttribute", "invalidOneOfInputObject",
    }
)  # fmt: skip
DEFECT_HINT: Final = "this is a defect of reconciler, or of its fit with this API version: please report it"
UNAPPROVED: Final = "not approved to access"
RETRY_AFTER_MAX_S: Final = 3_600.0
SAID_MAX: Final = 500  # letters of Shopify's words in ours
PATH_MAX: Final = 50
ERRORS_MAX: Final = 1_000  # of one reply that are looked at
ONE_USERS: Final = frozenset(
    {"customer_merge", "customer_merge_preview", "customer_merge_job_status", "customer_request_data_erasure"}
)
"""Calls with scopes of their own, that few users need: where one is refused, the others go on."""
PAYLOAD_DEPTH: Final = (
    2  # of a mutation: its name and an object of its payload; what is below was done, and is not shown
)
PROTECTED_DATA: Final = "approval for protected customer data (levels 1 and 2: name, e-mail, phone)"


@dataclass(frozen=True, slots=True)
class Sent:
    """The call that a failure belongs to."""

    shop: ShopDomain
    document: Document

    @property
    def is_mutation(self) -> bool:
        return self.document.kind == "mutation"

    def unanswered(self, why: str, *, retry_after_s: float | None = None) -> TemporaryError:
        """The call left and no whole answer came: for a mutation nobody knows what became of it."""
        said = f"{self.shop}: {self.document.name}: {why}"
        if self.is_mutation:
            return AnswerLost(said, hint="look before sending again", retry_after_s=retry_after_s)
        return TemporaryError(said, retry_after_s=retry_after_s)

    def malformed(self, error: MalformedError, response: httpx.Response | None = None) -> TemporaryError:
        """The answer came and is not what Shopify promises."""
        kind = response.headers.get("Content-Type", "nothing").partition(";")[0][:40] if response is not None else ""
        what = f" ({kind}, {len(response.content)} bytes)" if response is not None else ""
        return self.unanswered(f"the answer is malformed{what}: {error}")


def retry_after_s(response: httpx.Response) -> float | None:
    """Retry-After in seconds, however it is written, an hour at most; None where it is not there or makes no sense."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        asked_s = float(text)
    except ValueError:
        then, now = _date(text), _date(response.headers.get("Date", ""))
        asked_s = then - now if then is not None and now is not None else math.nan
    return None if math.isnan(asked_s) else min(max(0.0, asked_s), RETRY_AFTER_MAX_S)


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def of_status(sent: Sent, response: httpx.Response) -> ReconcilerError | None:
    """The error of an HTTP status; None for 200."""
    status = response.status_code
    if status == httpx.codes.OK:
        return None
    if response.is_redirect or 300 <= status < 400:  # noqa: PLR2004  the HTTP class
        target = _host(response.headers.get("Location", "")) or "another place"
        return AccessError(
            f"{sent.shop} answers with a redirect ({status}) to {target}; the token was not sent there",
            hint="name the shop by its own *.myshopify.com address, and leave admin_url out unless it is needed",
        )
    if status in ACCESS:
        what, hint = ACCESS[status]
        return AccessError(f"{sent.shop} {what} (HTTP {status})", hint=hint)
    if status in DEFECTS:
        return PermanentError(f"{sent.shop}: {sent.document.name} was refused with HTTP {status}", hint=DEFECT_HINT)
    wait_s = retry_after_s(response)
    if response.is_success or status in MAYBE_DONE or (status >= 500 and status not in NOT_DONE):  # noqa: PLR2004
        return sent.unanswered(f"HTTP {status}", retry_after_s=wait_s)
    if status in {429, 430} | NOT_DONE:
        return TemporaryError(f"{sent.shop}: {sent.document.name}: HTTP {status}", retry_after_s=wait_s)
    return PermanentError(f"{sent.shop}: {sent.document.name} was answered with HTTP {status}", hint=DEFECT_HINT)


def _host(location: str) -> str:
    """The host as it is written: httpx's `host` decodes international names, and raises at those that are none."""
    try:
        return httpx.URL(location).raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return ""


def of_transport(sent: Sent, error: httpx.RequestError) -> ReconcilerError:
    """The error of a connection that could not be made, or broke."""
    said = str(error)[:SAID_MAX]
    if isinstance(error, httpx.LocalProtocolError):
        said = ""  # it repeats a header, and that may be the token
    why = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError):
        hint = f"nothing was sent; {UNTRUSTED_HINT}" if is_untrusted(error) else "nothing was sent; look at the network"
        return TemporaryError(f"{sent.shop}: {sent.document.name}: no connection ({why})", hint=hint)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return PermanentError(f"{sent.shop}: {sent.document.name} can't be sent ({why})", hint=DEFECT_HINT)
    return sent.unanswered(f"the connection broke before the whole answer was there ({why})")


def of_one_call(sent: Sent, error: AccessError) -> PermanentError:
    """A refusal that is of this call, and not of the shop."""
    return PermanentError(f"{error.message}: of {sent.document.name} alone, it answers other calls", hint=error.hint)


def errors_of(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The GraphQL errors of a reply, whatever shape they have."""
    errors = body.get("errors")
    if not errors:
        return ()
    if not isinstance(errors, list):
        return ({"message": str(errors)},)
    return [error if isinstance(error, Mapping) else {"message": str(error)} for error in errors[:ERRORS_MAX]]


def is_throttled(errors: Sequence[Mapping[str, Any]]) -> bool:
    return any(_code(error) == "THROTTLED" for error in errors)


def of_errors(sent: Sent, errors: Sequence[Mapping[str, Any]]) -> tuple[ReconcilerError | None, dict[Path, str]]:
    """The error that the GraphQL errors of one reply amount to, and the fields that were not shown to us.

    Of those the path, and what access it needs.
    What concerns the whole store goes before what concerns this call.
    """
    denied: dict[Path, str] = {}
    found: list[ReconcilerError] = []
    for error in errors:
        path = _path(error.get("path"))
        if _is_denied(error) and len(path) > (PAYLOAD_DEPTH if sent.is_mutation else 1):
            denied[path] = _needed(error)
        else:
            found.append(_of_error(sent, error, path))
    found.sort(key=lambda each: 0 if isinstance(each, AccessError) else 1)
    return (found[0] if found else None), denied


def of_part(
    sent: Sent, failure: ReconcilerError, errors: Sequence[Mapping[str, Any]], data: object
) -> PartUnreadable | None:
    """The same where a query failed in some of its parts only, and the reply holds the others; None where it did not."""
    is_part = not sent.is_mutation and isinstance(failure, TemporaryError) and all(map(_names_part, errors))
    if not is_part or not isinstance(data, Mapping) or not any(part is not None for part in data.values()):
        return None
    return PartUnreadable(failure.message, hint=failure.hint)


def _names_part(error: Mapping[str, Any]) -> bool:
    return bool(_path(error.get("path")))


def _code(error: Mapping[str, Any]) -> str:
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, Mapping) else None
    return code if isinstance(code, str) else ""


def _is_denied(error: Mapping[str, Any]) -> bool:
    return _code(error) == "ACCESS_DENIED" or UNAPPROVED in str(error.get("message", ""))


def _needed(error: Mapping[str, Any]) -> str:
    """The access that a refused field asks for, as far as Shopify says."""
    message = _said(error, "more access")
    extensions = error.get("extensions")
    needed = extensions.get("requiredAccess") if isinstance(extensions, Mapping) else None
    lacks = needed or (PROTECTED_DATA if UNAPPROVED in message else message)
    return words_of(lacks, length_max=SAID_MAX).rstrip(".")


def _of_error(sent: Sent, error: Mapping[str, Any], path: Path) -> ReconcilerError:
    code, message = words_of(_code(error), length_max=SAID_MAX), _said(error, "no message")
    where = f"{sent.shop}: {sent.document.name}"
    if _is_denied(error):
        return access_denied(sent, message, error.get("extensions"))
    if code == "SHOP_INACTIVE":
        return AccessError(f"{sent.shop} is inactive: {message}", hint="its owner has to open the shop again")
    if code == "NOT_FOUND" and "etafield definition" in message:
        return SetupError(
            f"{sent.shop} has no metafield definition of type id for the back-link", hint="run `reconciler bootstrap`"
        )
    if code in {"NOT_FOUND", "RESOURCE_NOT_FOUND"}:
        if sent.is_mutation:
            return Refused((Refusal(None, "NOT_FOUND", message),))
        return PermanentError(f"{where}: {message}", hint="an id in our state is none of this shop's")
    if code in DEFECT_CODES:
        # Not the message: it repeats values, and those are people's.
        at = ".".join(str(step) for step in _problem_path(error) or path)
        return PermanentError(f"{where} was refused: {code}{f' at {at}' if at else ''}", hint=DEFECT_HINT)
    return sent.unanswered(f"{code}: {message}" if code else message)


def access_denied(sent: Sent, message: str, extensions: Any = None) -> AccessError | PermanentError:
    """Something of the shop is closed to our app: customers as such, or a call that few users need."""
    needed = extensions.get("requiredAccess") if isinstance(extensions, Mapping) else None
    if UNAPPROVED in message:
        return AccessError(
            f"{sent.shop}: {sent.document.name}: the app is not approved for protected customer data",
            hint="ask for levels 1 and 2 (name, e-mail, phone) in the app's settings at Shopify",
        )
    lacks = words_of(needed or message, length_max=SAID_MAX).rstrip(".")
    kind = PermanentError if sent.document.name in ONE_USERS else AccessError
    return kind(
        f"{sent.shop}: {sent.document.name}: access denied, needed: {lacks}",
        hint="give the app the scope and install it anew: `reconciler doctor` lists all that are needed",
    )


def _problem_path(error: Mapping[str, Any]) -> Path:
    extensions = error.get("extensions")
    problems = extensions.get("problems") if isinstance(extensions, Mapping) else None
    if isinstance(problems, list) and problems and isinstance(problems[0], Mapping):
        return _path(problems[0].get("path"))
    return ()


def _path(value: object) -> Path:
    """Where an error is; empty for what is no path."""
    if not isinstance(value, list) or len(value) > PATH_MAX:
        return ()
    return tuple(step for step in value if isinstance(step, str | int))


def _said(error: Mapping[str, Any], otherwise: str) -> str:
    return words_of(error.get("message") or otherwise, length_max=SAID_MAX)
