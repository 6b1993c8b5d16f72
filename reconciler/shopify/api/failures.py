"""Translates failed replies into our errors.

Facts of the Admin GraphQL API 2026-10 (read 2026-11-23):

- HTTP 200 does not mean success. A reply may have both `data` and `errors`.
- A null beside ACCESS_DENIED is a hidden value, not an empty one.
- After a mutation was sent, an incomplete response means that it may have been executed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from reconciler.core.model.frozen import frozen
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
from reconciler.outbound.certificates import UNTRUSTED, UNTRUSTED_HINT, is_untrusted
from reconciler.outbound.reading import MalformedError, words_of
from reconciler.shopify.api.document import Document

Path = tuple[str | int, ...]

ACCESS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("refuses the access token", "set a valid token: `auth` in stores.yaml"),
    402: ("is frozen: its owner must pay Shopify's bill", "wait until the shop is unfrozen"),
    403: ("forbids this app the call", "check the app's scopes and install it again: `reconciler doctor` lists them"),
    404: (
        "does not exist, or not in this API version",
        "compare `shop`, `admin_url` and `api_version` in stores.yaml with the shop's own address",
    ),
    423: ("is locked by Shopify", "its owner must resolve this with Shopify"),
    451: ("is not available for legal reasons", "its owner must resolve this with Shopify"),
}
DEFECTS: Final = frozenset({400, 405, 406, 411, 413, 414, 415, 422})
MAYBE_DONE: Final = frozenset({408, 409})
OF_A_PROXY: Final = frozenset({407, 511})  # Proxy and Network Authentication Required: no shop sends them
REROUTED: Final = frozenset({421, 425, 429, 430})  # the call is to be sent again, elsewhere or later
NOT_DONE: Final = frozenset({501, 503, 505, 530, 540})
"""The statuses from 500 on by which Shopify says that it did not execute a mutation. After any other, including those of the
proxy before Shopify (520 to 529), it may have been executed: the response may have been lost on its way back.

Should a proxy answer so after the execution, sending again does no harm: each write may be sent twice, except STARTS."""
STARTS: Final = frozenset({"bulk_run_mutation"})
"""Mutations that do something else if sent twice: they start one operation each. So no status proves that they did not."""
DEFECT_CODES: Final = frozenset(
    {
        "MAX_COST_EXCEEDED", "INVALID_VARIABLE", "MAX_INPUT_SIZE_EXCEEDED", "BAD_REQUEST", "PARSE_ERROR", "INVALID",
        "MISSING_ARGUMENT", "undefinedField", "missingRequiredArguments", "argumentLiteralsIncompatible",
        "argumentNotAccepted", "selectionMismatch", "variableMismatch", "variableNotDefined", "variableNotUsed",
        "undefinedType", "missingRequiredInputObjectAttribute", "invalidOneOfInputObject",
    }
)  # fmt: skip
MAYBE_DONE_HINT: Final = "it may have been executed: run the command again, which looks first"
DEFECT_HINT: Final = "this is a defect of reconciler, or it does not support this API version: please report it"
PROXY_HINT: Final = "a proxy between here and Shopify refuses: check HTTPS_PROXY and NO_PROXY"
UNAPPROVED: Final = "not approved to access"
RETRY_AFTER_MAX_S: Final = 3_600.0
SAID_MAX: Final = 500  # characters of a message of Shopify in ours
PATH_MAX: Final = 50
ERRORS_MAX: Final = 1_000  # errors that are read in one reply
ONE_USERS: Final = frozenset(
    {
        "customer_email_consent", "customer_merge", "customer_merge_job_status", "customer_merge_preview",
        "customer_request_data_erasure", "customer_sms_consent",
    }
)  # fmt: skip
"""Calls with access of their own, which few users need: a refusal of one does not affect the others."""
PAYLOAD_DEPTH: Final = (
    2  # steps of a path in a mutation's reply: its name and an object of the payload; deeper fields are hidden
)
PROTECTED_DATA: Final = "approval for protected customer data (levels 1 and 2: name, email, phone)"


@frozen
class Sent:
    """The call that a failure belongs to."""

    shop: ShopDomain
    document: Document

    @property
    def is_mutation(self) -> bool:
        return self.document.kind == "mutation"

    def no_answer(self, why: str, *, retry_after_s: float | None = None) -> TemporaryError:
        """The error of a call without a complete response. For a mutation, AnswerLost: its outcome is unknown."""
        said = f"{self.shop}: {self.document.operation}: {why}"
        if self.is_mutation:
            return AnswerLost(said, hint=MAYBE_DONE_HINT, retry_after_s=retry_after_s)
        return TemporaryError(said, retry_after_s=retry_after_s)

    def malformed_answer(self, error: MalformedError, response: httpx.Response | None = None) -> TemporaryError:
        """The error of a response that is not as Shopify documents it."""
        kind = response.headers.get("Content-Type", "nothing").partition(";")[0][:40] if response is not None else ""
        what = f" ({kind}, {len(response.content)} bytes)" if response is not None else ""
        return self.no_answer(f"the response is malformed{what}: {error}")


def retry_after_s(response: httpx.Response) -> float | None:
    """Retry-After in seconds, in either format, an hour at most; None if it is missing or not valid."""
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
        target = host_of(response.headers.get("Location", "")) or "another address"
        return AccessError(
            f"{sent.shop} answers with a redirect ({status}) to {target}; the token was not sent there",
            hint="set shop to its *.myshopify.com address, and remove admin_url unless it is needed",
        )
    if status in ACCESS:
        what, hint = ACCESS[status]
        return AccessError(f"{sent.shop} {what} (HTTP {status})", hint=hint)
    if status in DEFECTS:
        return PermanentError(
            f"{sent.shop}: {sent.document.operation} was refused with HTTP {status}", hint=DEFECT_HINT
        )
    if status in OF_A_PROXY:
        return TemporaryError(
            f"{sent.shop}: {sent.document.operation}: a proxy asks for a login (HTTP {status})", hint=PROXY_HINT
        )
    wait_s = retry_after_s(response)
    is_start = sent.document.name in STARTS
    if response.is_success or status in MAYBE_DONE or (status >= 500 and (is_start or status not in NOT_DONE)):  # noqa: PLR2004
        return sent.no_answer(f"HTTP {status}", retry_after_s=wait_s)
    if status in REROUTED | NOT_DONE:
        return TemporaryError(f"{sent.shop}: {sent.document.operation}: HTTP {status}", retry_after_s=wait_s)
    return PermanentError(f"{sent.shop}: {sent.document.operation} got HTTP {status}", hint=DEFECT_HINT)


def host_of(location: str) -> str:
    """The host as written: httpx's `host` decodes international names and raises for invalid ones."""
    try:
        return httpx.URL(location).raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return ""


def of_transport(sent: Sent, error: httpx.RequestError) -> ReconcilerError:
    """The error of a connection that failed or broke."""
    said = str(error)[:SAID_MAX]
    if isinstance(error, httpx.LocalProtocolError):
        said = ""  # it repeats a header, which may be the token
    why = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError):
        advice = PROXY_HINT if isinstance(error, httpx.ProxyError) else "check the network"
        hint = f"nothing was sent; {UNTRUSTED_HINT if is_untrusted(error) else advice}"
        return TemporaryError(f"{sent.shop}: {sent.document.operation}: no connection ({why})", hint=hint)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return PermanentError(f"{sent.shop}: {sent.document.operation} can't be sent ({why})", hint=DEFECT_HINT)
    return sent.no_answer(f"the connection broke before the response was complete ({why})")


def of_storage(what: str, address: str, error: httpx.HTTPError) -> TemporaryError:
    """The error of a file that was not sent or read whole. The address is a secret, and so are the error's words."""
    host, is_refused = host_of(address), isinstance(error, httpx.ProxyError)
    why = UNTRUSTED if is_untrusted(error) else type(error).__name__
    advice = PROXY_HINT if is_refused else f"check that this machine reaches {host}, where Shopify keeps such files"
    return TemporaryError(f"{what}: {host}: {why}", hint=UNTRUSTED_HINT if is_untrusted(error) else advice)


def of_one_call(sent: Sent, error: AccessError) -> PermanentError:
    """The error of a call that the shop refuses while it answers others."""
    return PermanentError(f"{error.message}: only {sent.document.operation}; it answers other calls", hint=error.hint)


def errors_of(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The GraphQL errors of a reply as mappings, in whatever shape they came."""
    errors = body.get("errors")
    if not errors:
        return ()
    if not isinstance(errors, list):
        return ({"message": str(errors)},)
    return [error if isinstance(error, Mapping) else {"message": str(error)} for error in errors[:ERRORS_MAX]]


def is_throttled(errors: Sequence[Mapping[str, Any]]) -> bool:
    return any(_code(error) == "THROTTLED" for error in errors)


def of_errors(sent: Sent, errors: Sequence[Mapping[str, Any]]) -> tuple[ReconcilerError | None, dict[Path, str]]:
    """The most important error among the GraphQL errors of one reply, and the hidden fields.

    Hidden fields are paths with the access that each needs. An error of the whole store precedes an error of this call.
    """
    denied: dict[Path, str] = {}
    found: list[ReconcilerError] = []
    for error in errors:
        path = _path(error.get("path"))
        if _is_denied(error) and len(path) > (PAYLOAD_DEPTH if sent.is_mutation else 1):
            denied[path] = _needed_access(error)
        else:
            found.append(_of_error(sent, error, path))
    found.sort(key=lambda each: 0 if isinstance(each, AccessError) else 1)
    return (found[0] if found else None), denied


def of_part(
    sent: Sent, failure: ReconcilerError, errors: Sequence[Mapping[str, Any]], data: object
) -> PartUnreadable | None:
    """PartUnreadable if a query failed only in some of its parts, and the reply has the others; otherwise None."""
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


def _needed_access(error: Mapping[str, Any]) -> str:
    """The access that a refused field needs, as far as Shopify states it."""
    message = _message(error, "more access")
    return _required_access(error.get("extensions"), PROTECTED_DATA if UNAPPROVED in message else message)


def _required_access(extensions: Any, otherwise: str) -> str:
    """The access that Shopify names in the extensions of an error, or `otherwise`; as the end of a sentence of ours."""
    needed = extensions.get("requiredAccess") if isinstance(extensions, Mapping) else None
    return words_of(needed or otherwise, length_max=SAID_MAX).strip().rstrip(".")


def _of_error(sent: Sent, error: Mapping[str, Any], path: Path) -> ReconcilerError:
    code, message = words_of(_code(error), length_max=SAID_MAX), _message(error, "no message")
    where = f"{sent.shop}: {sent.document.operation}"
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
        return PermanentError(f"{where}: {message}", hint="an id in our state is not of this shop")
    if code in DEFECT_CODES:
        # Without the message: it repeats values, which are personal data.
        at = ".".join(str(step) for step in _problem_path(error) or path)
        return PermanentError(f"{where} was refused: {code}{f' at {at}' if at else ''}", hint=DEFECT_HINT)
    return sent.no_answer(f"{code}: {message}" if code else message)


def access_denied(sent: Sent, message: str, extensions: Any = None) -> AccessError | PermanentError:
    """The error of denied access: AccessError if it concerns customers, PermanentError for a call that few users need."""
    if UNAPPROVED in message:
        return AccessError(
            f"{sent.shop}: {sent.document.operation}: the app is not approved for protected customer data",
            hint="request levels 1 and 2 (name, email, phone) in the app's settings in Shopify",
        )
    lacks = _required_access(extensions, message)
    kind = PermanentError if sent.document.name in ONE_USERS else AccessError
    return kind(
        f"{sent.shop}: {sent.document.operation}: access denied, needed: {lacks}",
        hint="grant the app the scope and install it again: `reconciler doctor` lists the required scopes",
    )


def _problem_path(error: Mapping[str, Any]) -> Path:
    extensions = error.get("extensions")
    problems = extensions.get("problems") if isinstance(extensions, Mapping) else None
    if isinstance(problems, list) and problems and isinstance(problems[0], Mapping):
        return _path(problems[0].get("path"))
    return ()


def _path(value: object) -> Path:
    """The path of an error; empty if it is not a path."""
    if not isinstance(value, list) or len(value) > PATH_MAX:
        return ()
    return tuple(step for step in value if isinstance(step, str | int))


def _message(error: Mapping[str, Any], otherwise: str) -> str:
    return words_of(error.get("message") or otherwise, length_max=SAID_MAX)
