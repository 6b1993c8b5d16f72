"""Addresses of customers: validates and converts address inputs.

Messages: live replies of the Admin API, read 2026-11-23 and 2026-11-29.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.simulator.customers import normalisation
from reconciler.simulator.customers.records import Address
from reconciler.simulator.graphql.documents import Json, load_schema
from reconciler.simulator.ledger import Ledger

Complaint = tuple[tuple[str, ...], str, str]
"""Path below the list, message, code."""
_HTML: Final = re.compile(r"<[^>]+>")
_TEXTS: Final = {
    "firstName": "First name",
    "lastName": "Last name",
    "company": "Company",
    "address1": "Address1",
    "address2": "Address2",
    "city": "City",
    "zip": "Zip",
    "phone": "Phone",
}
NO_COUNTRY: Final = "ZZ"
_CANADA: Final = "AB BC MB NB NL NS NT NU ON PE QC SK YT"
_STATES: Final = (
    "AL AK AS AZ AR CA CO CT DE DC FM FL GA GU HI ID IL IN IA KS KY LA ME MH MD MA MI MN MS MO MT NE NV NH NJ NM NY "
    "NC ND MP OH OK OR PW PA PR RI SC SD TN TX UT VT VI VA WA WV WI WY AA AE AP"
)
_AUSTRALIA: Final = "ACT NSW NT QLD SA TAS VIC WA"
PROVINCES: Final = {
    country: frozenset(codes.split()) for country, codes in {"CA": _CANADA, "US": _STATES, "AU": _AUSTRALIA}.items()
}
"""Province codes of some countries; other countries accept any code."""
_UNDIVIDED: Final = "AT BE CH CZ DE DK FI FR GB IS LU MC NL NO PL SE SG"
WITHOUT_PROVINCES: Final = frozenset(_UNDIVIDED.split())
TEXT_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class AddressOwner:
    """The customer who has the address; their names are used if the address has none."""

    first_name: str | None = None
    last_name: str | None = None


def examine_addresses(
    ledger: Ledger, given: list[Json], kept: Mapping[int, Address], person: AddressOwner
) -> tuple[list[Address], list[Complaint]]:
    """The addresses of a list, without duplicates, and the problems."""
    made: list[Address] = []
    problems: list[Complaint] = []
    for index, each in enumerate(given):
        named = _number(each.get("id"))
        if named is not None and named not in kept:
            problems.append(((str(index), "id"), "Customer address does not exist", "INVALID"))
            continue
        base = kept[named].fields if named is not None else {}
        fields, complaints = examine_address(ledger, {**as_input(base), **each}, person)
        if not any(fields.values()):
            problems.append(((str(index),), "Customer address cannot be blank.", "BLANK"))
        problems += [((str(index), *path), message, code) for path, message, code in complaints]
        if any(other.fields == fields for other in made):
            continue
        made.append(Address(ledger.next_number() if named is None else named, fields))
    return made, problems


def as_input(fields: Json) -> Json:
    """The fields of a stored address, by the input's names."""
    return {"countryCode" if name == "countryCodeV2" else name: value for name, value in fields.items()}


def _number(identifier: Any) -> int | None:
    tail = str(identifier or "").partition("?")[0].rpartition("/")[2]
    return int(tail) if tail.isdigit() else None


def examine_address(ledger: Ledger, given: Json, person: AddressOwner) -> tuple[Json, list[Complaint]]:
    """The fields of one address as stored, and the problems."""
    problems: list[Complaint] = []
    fields: Json = {}
    for name, words in _TEXTS.items():
        text = (given.get(name) or "").strip() or None
        fields[name] = text
        if text is not None:
            problems += [((name,), f"{words} {fault}", code) for fault, code in _faults(text)]
    fields["firstName"] = fields["firstName"] or person.first_name
    fields["lastName"] = fields["lastName"] or person.last_name
    country = given.get("countryCode") or _country_of(given.get("country"))
    if (given.get("country") and country is None) or country == NO_COUNTRY:
        problems.append((("country",), "Country is invalid", "INVALID"))
    fields["countryCodeV2"] = country
    province = (given.get("provinceCode") or given.get("province") or "").strip() or None
    known = PROVINCES.get(country or "")
    if province and known is not None and province not in known and country != NO_COUNTRY:
        problems.append((("province",), "Province is invalid", "INVALID"))
    fields["provinceCode"] = None if country in WITHOUT_PROVINCES else province
    if fields["phone"] is not None:
        fields["phone"] = normalisation.address_phone(fields["phone"], country or ledger.country)
    return fields, problems


def _faults(text: str) -> list[tuple[str, str]]:
    found = []
    if len(text) > TEXT_MAX:
        found.append((f"is too long (maximum is {TEXT_MAX} characters)", "TOO_LONG"))
    if normalisation.URL.search(text):
        found.append(("cannot contain URL", "INVALID"))
    if _HTML.search(text):
        found.append(("cannot contain HTML tags", "INVALID"))
    if normalisation.has_emoji(text):
        found.append(("cannot contain emojis", "INVALID"))
    return found


def _country_of(name: Any) -> str | None:
    """Whether `country` has a code, which belongs into `countryCode`."""
    codes: Any = load_schema().type_map["CountryCode"]
    return name if name in codes.values else None
