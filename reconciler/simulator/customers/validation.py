"""Validates an input for a customer: returns the values to set, or all problems.

It reads the shop and changes nothing, so a refused call has no effect. Messages and codes: live replies of the Admin
API, read 2026-11-23.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.simulator.customers import normalisation
from reconciler.simulator.customers.addresses.inputs import AddressOwner, examine_addresses
from reconciler.simulator.customers.records import Address, SimCustomer, rare
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import Ledger

TEXT_MAX: Final = 255
NOTE_MAX: Final = 5000
TAGS_MAX: Final = 250


@dataclass(frozen=True, slots=True)
class InputProblem:
    """One problem: the field below the input (None: the whole input), the message, and customerSet's code."""

    path: tuple[str, ...] | None
    message: str
    code: str = "INVALID"


@dataclass(slots=True)
class Draft:
    """Values to set on the customer and on its rare values, or problems."""

    values: dict[str, Any] = field(default_factory=dict)
    rare: dict[str, Any] = field(default_factory=dict)
    problems: list[InputProblem] = field(default_factory=list)

    def refuse(self, name: str, message: str, code: str = "INVALID") -> None:
        self.problems.append(InputProblem((name,), message, code))


def examine(ledger: Ledger, customer: SimCustomer | None, given: Mapping[str, Any]) -> Draft:
    """Validate `given` for the customer, or for a new one."""
    draft = Draft()
    for name, read in _READERS.items():
        if name in given:
            read(ledger, customer, draft, given[name], given)
    if not draft.problems:
        _check_taken(ledger, customer, draft)
    if not draft.problems and not _has_identity(customer, draft):
        draft.problems.append(InputProblem(None, ledger.habits.identity_message))
    return draft


def _has_identity(customer: SimCustomer | None, draft: Draft) -> bool:
    return any(
        draft.values.get(name, getattr(customer, name, None)) for name in ("email", "phone", "first_name", "last_name")
    )


def _check_taken(ledger: Ledger, customer: SimCustomer | None, draft: Draft) -> None:
    for name, owner_of in (("email", ledger.people.with_email), ("phone", ledger.people.with_phone)):
        value = draft.values.get(name)
        owner = None if value is None else owner_of(value)
        if owner is not None and owner is not customer:
            draft.refuse(name, f"{name.capitalize()} has already been taken", "TAKEN")


def _email(ledger: Ledger, _customer: SimCustomer | None, draft: Draft, value: str | None, _given: Json) -> None:
    email = draft.values["email"] = normalisation.email(value, ledger.habits)
    if email is None:
        return
    too_long = len(email) > TEXT_MAX
    if too_long:
        draft.refuse("email", f"Email is too long (maximum is {TEXT_MAX} characters)", "TOO_LONG")
    strict = ledger.habits.strict_tld and not normalisation.email_is_strictly_valid(email)
    if too_long or strict or not normalisation.email_is_valid(email):
        draft.refuse("email", "Email is invalid")
    elif email.partition("@")[2].lower() in ledger.habits.refused_domains:
        draft.refuse("email", "Email contains an invalid domain name")


def _phone(ledger: Ledger, customer: SimCustomer | None, draft: Draft, value: str | None, given: Json) -> None:
    if value is None or not value.strip():
        draft.values["phone"] = None
        return
    if len(value) > TEXT_MAX:
        draft.refuse("phone", f"Phone is too long (maximum is {TEXT_MAX} characters)", "TOO_LONG")
    draft.values["phone"] = phone = normalisation.phone(value, _country(ledger, customer, given))
    if phone is None:
        draft.refuse("phone", "Phone is invalid")


def _country(ledger: Ledger, customer: SimCustomer | None, given: Json) -> str:
    for address in given.get("addresses") or ():
        if address.get("countryCode"):
            return str(address["countryCode"])
    for kept in rare(customer).addresses if customer is not None else ():
        if kept.fields.get("countryCodeV2"):
            return str(kept.fields["countryCodeV2"])
    return ledger.country


def _name(field_name: str, attribute: str, words: str) -> Callable[..., None]:
    def read(ledger: Ledger, _customer: SimCustomer | None, draft: Draft, value: str | None, _given: Json) -> None:
        name = draft.values[attribute] = normalisation.name(value, ledger.habits)
        if name is None:
            return
        if len(name) > TEXT_MAX:
            draft.refuse(field_name, f"{words} is too long (maximum is {TEXT_MAX} characters)", "TOO_LONG")
        elif ledger.habits.names_refuse_urls and normalisation.URL.search(name):
            draft.refuse(field_name, f"{words} cannot contain URL")

    return read


def _note(_ledger: Ledger, _customer: SimCustomer | None, draft: Draft, value: str | None, _given: Json) -> None:
    draft.values["note"] = value
    if value is not None and len(value) > NOTE_MAX:
        draft.refuse("note", f"Note is too long (maximum is {NOTE_MAX} characters)", "TOO_LONG")


def _tags(ledger: Ledger, _customer: SimCustomer | None, draft: Draft, value: list[str] | None, _given: Json) -> None:
    if value is not None:
        draft.values["tags"] = ledger_tags(ledger, value)
        draft.problems += tag_problems(draft.values["tags"])


def ledger_tags(ledger: Ledger, given: list[str]) -> tuple[str, ...]:
    """Tags as this shop stores them."""
    tags = normalisation.tags(given)
    if not ledger.habits.snap_tag_casing:
        return tags
    return tuple(ledger.known_tags.get(tag.casefold(), tag) for tag in tags)


def tag_problems(tags: tuple[str, ...]) -> list[InputProblem]:
    found = []
    if any(len(tag) > TEXT_MAX for tag in tags):
        found.append(InputProblem(("tags",), f"Tags is too long (maximum is {TEXT_MAX} characters)", "TOO_LONG"))
    if len(tags) > TAGS_MAX:
        found.append(InputProblem(("tags",), f"Tags cannot be more than {TAGS_MAX}"))
    return found


def _locale(ledger: Ledger, _customer: SimCustomer | None, draft: Draft, value: str | None, _given: Json) -> None:
    if value is None:
        draft.values["locale"] = ledger.primary_locale
    elif normalisation.locale_is_valid(value):
        draft.values["locale"] = value
    else:
        draft.refuse("locale", "Locale is invalid")


def _tax_exempt(_ledger: Ledger, _customer: SimCustomer | None, draft: Draft, value: bool | None, _given: Json) -> None:  # noqa: FBT001 - all readers are called alike
    if value is None:
        draft.refuse("taxExempt", "Tax exempt is of unexpected type NilClass")
    else:
        draft.rare["tax_exempt"] = value


def _exemptions(
    _ledger: Ledger, _customer: SimCustomer | None, draft: Draft, value: list[str] | None, _given: Json
) -> None:
    if value is not None:
        draft.rare["tax_exemptions"] = tuple(dict.fromkeys(value))


def _multipass(_ledger: Ledger, _customer: SimCustomer | None, draft: Draft, value: str | None, _given: Json) -> None:
    draft.rare["multipass"] = value or None


def _addresses(
    ledger: Ledger, customer: SimCustomer | None, draft: Draft, value: list[Json] | None, _given: Json
) -> None:
    """None keeps the addresses; a list, even an empty one, replaces them."""
    if value is None:
        return
    kept: dict[int, Address] = {each.number: each for each in rare(customer).addresses} if customer is not None else {}
    names = {field: draft.values.get(field, getattr(customer, field, None)) for field in ("first_name", "last_name")}
    addresses, problems = examine_addresses(ledger, value, kept, AddressOwner(**names))
    draft.problems += [InputProblem(("addresses", *path), message, code) for path, message, code in problems]
    draft.rare["addresses"] = addresses
    draft.rare["default_address"] = addresses[0].number if addresses else None


_READERS: Final[Mapping[str, Callable[..., None]]] = {
    "email": _email,
    "phone": _phone,
    "firstName": _name("firstName", "first_name", "First name"),
    "lastName": _name("lastName", "last_name", "Last name"),
    "note": _note,
    "tags": _tags,
    "locale": _locale,
    "taxExempt": _tax_exempt,
    "taxExemptions": _exemptions,
    "multipassIdentifier": _multipass,
    "addresses": _addresses,
}
INPUT_FIELDS: Final = frozenset(_READERS)
"""The fields of a customer that `examine` reads, by Shopify's names."""
