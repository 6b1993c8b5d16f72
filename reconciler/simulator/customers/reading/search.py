"""Shopify's search syntax over customers, with its pitfalls.

Unquoted values are split into tokens, of which one must match; quoted values are phrases of tokens. An unknown field is
ignored, so all customers match, and the reply has a warning. `>` acts like `>=` for times. Admin API search syntax
page and reported cases, read 2026-11-23.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.simulator.customers.normalisation import Habits
from reconciler.simulator.customers.records import SimCustomer, rare
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.graphql.search_notes import invalid_field, invalid_value, note, unnamed_field

Match = Callable[[SimCustomer], bool]
_TOKEN: Final = re.compile(
    r"""(?P<paren>[()])
      | (?P<minus>-)? (?: (?P<field>[A-Za-z_][\w.]*) : (?P<sign>>=|<=|>|<)? )?
        (?: "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\.)*)' | (?P<bare>[^\s()]+) )""",
    re.VERBOSE,
)
_WORDS: Final = re.compile(r"[^\W_]+")
COUNTABLE: Final = frozenset({"created_at", "id", "updated_at"})
"""The fields by which customersCount can filter."""
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on a field, or on any text if `field` is None."""

    field: str | None
    sign: str
    value: str
    quoted: bool


@dataclass(slots=True)
class Query:
    """A parsed search query."""

    text: str
    matches: Match
    warnings: list[Json] = field(default_factory=list)

    @property
    def search(self) -> Json:
        """The warnings for `extensions.search`; empty if there are none."""
        return note(self.text, self.warnings)


def matches_all(_customer: SimCustomer) -> bool:
    return True


def words(text: str | None) -> list[str]:
    return [word.casefold() for word in _WORDS.findall(text or "")]


def read_query(text: str | None, habits: Habits, only: frozenset[str] | None = None) -> Query:
    """Parse the query. `only`: the supported fields; others are ignored with a warning."""
    if not text or not text.strip():
        return Query(text or "", matches_all)
    reader = _Reader(text, habits, only)
    return Query(text, reader.disjunction(), reader.warnings)


class _Reader:
    def __init__(self, text: str, habits: Habits, only: frozenset[str] | None) -> None:
        self.tokens = list(_TOKEN.finditer(text))
        self.position = 0
        self.habits = habits
        self.only = only
        self.warnings: list[Json] = []

    def peek(self) -> re.Match[str] | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self, word: str) -> bool:
        token = self.peek()
        if token is not None and token.group().upper() == word:
            self.position += 1
            return True
        return False

    def disjunction(self) -> Match:
        parts = [self.conjunction()]
        while self.take("OR"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else lambda customer: any(part(customer) for part in parts)

    def conjunction(self) -> Match:
        parts: list[Match] = []
        while True:
            token = self.peek()
            if token is None or token.group() == ")" or token.group().upper() == "OR":
                break
            if not self.take("AND"):
                parts.append(self.negation())
        if len(parts) == 1:
            return parts[0]
        return lambda customer: all(part(customer) for part in parts)

    def negation(self) -> Match:
        if self.take("NOT"):
            inner = self.negation()
            return lambda customer: not inner(customer)
        if self.take("("):
            found = self.disjunction()
            self.take(")")
            return found
        token = self.tokens[self.position]
        self.position += 1
        match = self.term(token)
        if match is None:
            return matches_all
        return (lambda customer: not match(customer)) if token["minus"] else match

    def term(self, token: re.Match[str]) -> Match | None:
        quoted = token["double"] if token["double"] is not None else token["single"]
        value = quoted if quoted is not None else (token["bare"] or "")
        term = Term(token["field"], token["sign"] or "", value, quoted is not None)
        if term.field is None:
            if self.only is None:
                return _any_text(term)
            self.warnings.append(unnamed_field())
            return None
        reader = _FIELDS.get(term.field)
        if reader is None or (self.only is not None and term.field not in self.only):
            self.warnings.append(invalid_field(term.field))
            return None
        try:
            return reader(term, self.habits)
        except ValueError:
            self.warnings.append(invalid_value(term.field, term.value))
            return None


# --- matching -----------------------------------------------------------------------------------------------------


def _text(get: Callable[[SimCustomer], str | None]) -> Callable[[Term, Habits], Match]:
    def build(term: Term, _habits: Habits) -> Match:
        if term.value == "*":
            return lambda customer: bool(get(customer))
        if term.value.endswith("*") and not term.quoted:
            prefix = term.value[:-1].casefold()
            return lambda customer: any(word.startswith(prefix) for word in words(get(customer)))
        wanted = words(term.value)
        if term.quoted:
            return lambda customer: _has_phrase(words(get(customer)), wanted)
        return lambda customer: not set(wanted).isdisjoint(words(get(customer)))

    return build


def _has_phrase(text: list[str], phrase: list[str]) -> bool:
    size = len(phrase)
    return size > 0 and any(text[start : start + size] == phrase for start in range(len(text) - size + 1))


def _all_text(customer: SimCustomer) -> str:
    person = (customer.first_name, customer.last_name, customer.email, customer.phone)
    return " ".join(part for part in person if part)


def _any_text(term: Term) -> Match:
    wanted = words(term.value)
    if term.quoted:
        return lambda customer: _has_phrase(words(_all_text(customer)), wanted)
    if term.value.endswith("*"):
        prefix = term.value[:-1].casefold()
        return lambda customer: any(word.startswith(prefix) for word in words(_all_text(customer)))
    return lambda customer: set(wanted).issubset(words(_all_text(customer)))


def _number(get: Callable[[SimCustomer], float]) -> Callable[[Term, Habits], Match]:
    def build(term: Term, _habits: Habits) -> Match:
        wanted = float(term.value) if "." in term.value else int(term.value)
        compare = _COMPARE[term.sign or "="]
        return lambda customer: compare(get(customer), wanted)

    return build


_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": lambda left, right: left == right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}


def _time(get: Callable[[SimCustomer], float | None]) -> Callable[[Term, Habits], Match]:
    def build(term: Term, habits: Habits) -> Match:
        moment, whole_day = _moment(term.value)
        if whole_day or habits.updated_at_whole_days:
            return _by_day(get, term.sign, moment)
        sign = {">": ">=", "<": "<="}.get(term.sign, term.sign)

        def match(customer: SimCustomer) -> bool:
            at = get(customer)
            if at is None:
                return False
            second = float(int(at))
            return _COMPARE[sign or "="](second, moment)

        return match

    return build


def _moment(text: str) -> tuple[float, bool]:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp(), len(text) <= len("2024-01-01")


def _by_day(get: Callable[[SimCustomer], float | None], sign: str, moment: float) -> Match:
    wanted = moment // DAY_S

    def match(customer: SimCustomer) -> bool:
        at = get(customer)
        return at is not None and _COMPARE[{">": ">=", "<": "<="}.get(sign, sign) or "="](at // DAY_S, wanted)

    return match


def _tag(term: Term, _habits: Habits) -> Match:
    wanted = term.value.casefold()
    return lambda customer: any(tag.casefold() == wanted for tag in customer.tags)


def _tag_not(term: Term, habits: Habits) -> Match:
    has = _tag(term, habits)
    return lambda customer: not has(customer)


def _state(term: Term, _habits: Habits) -> Match:
    return lambda customer: customer.state.casefold() == term.value.casefold()


def _accepts_marketing(term: Term, _habits: Habits) -> Match:
    wanted = {"true": True, "false": False}.get(term.value.casefold())
    if wanted is None:
        raise ValueError(term.value)
    return lambda customer: _subscribed(customer) is wanted


def _subscribed(customer: SimCustomer) -> bool:
    consent = rare(customer).email_consent
    return consent is not None and consent.state == "SUBSCRIBED"


def _country(customer: SimCustomer) -> str | None:
    return next((each.fields.get("countryCodeV2") for each in rare(customer).addresses), None)


def _matches_none(_term: Term, _habits: Habits) -> Match:
    return lambda _customer: False


_FIELDS: Final[Mapping[str, Callable[[Term, Habits], Match]]] = {
    "accepts_marketing": _accepts_marketing,
    "country": _text(_country),
    "created_at": _time(lambda customer: customer.created_at),
    "customer_date": _time(lambda customer: customer.created_at),
    "email": _text(lambda customer: customer.email),
    "first_name": _text(lambda customer: customer.first_name),
    "id": _number(lambda customer: customer.number),
    "last_abandoned_order_date": _matches_none,
    "last_name": _text(lambda customer: customer.last_name),
    "order_date": _time(lambda customer: rare(customer).last_order_at),
    "orders_count": _number(lambda customer: customer.orders),
    "phone": _text(lambda customer: customer.phone),
    "state": _state,
    "tag": _tag,
    "tag_not": _tag_not,
    "total_spent": _number(lambda customer: customer.orders * 42),
    "updated_at": _time(lambda customer: customer.updated_at),
}


def sort_value(key: str) -> Callable[[SimCustomer], Any]:
    """The sort key of a list of customers, before the number."""
    return _SORTS.get(key, lambda _customer: None)


_SORTS: Final[Mapping[str, Callable[[SimCustomer], Any]]] = {
    "CREATED_AT": lambda customer: customer.created_at,
    "LOCATION": lambda customer: _country(customer) or "",
    "NAME": lambda customer: f"{customer.last_name or ''}, {customer.first_name or ''}".casefold(),
    "UPDATED_AT": lambda customer: customer.updated_at,
}
