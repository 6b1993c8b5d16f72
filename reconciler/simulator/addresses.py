"""Addresses of customers: how an input is looked through, and what becomes of it.

Messages: live replies of the Admin API, read 2026-11-23.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.simulator import normalisation
from reconciler.simulator.documents import Json, load_schema
from reconciler.simulator.ledger import Ledger
from reconciler.simulator.records import Address

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
_PROVINCE: Final = re.compile(r"[A-Z0-9]{1,3}")
TEXT_MAX: Final = 255


def examine_addresses(
    ledger: Ledger, given: list[Json], kept: Mapping[int, Address]
) -> tuple[list[Address], list[Complaint]]:
    """The addresses that a list makes, and what is wrong with it."""
    made: list[Address] = []
    problems: list[Complaint] = []
    for index, each in enumerate(given):
        fields, complaints = examine_address(each)
        problems += [((str(index), *path), message, code) for path, message, code in complaints]
        if any(other.fields == fields for other in made):
            problems.append(((str(index),), "Address already exists", "TAKEN"))
        old = _same(kept, each, fields)
        made.append(Address(old.number if old else ledger.next_number(), fields))
    return made, problems


def _same(kept: Mapping[int, Address], given: Json, fields: Json) -> Address | None:
    named = str(given.get("id") or "").partition("?")[0].rpartition("/")[2]
    if named.isdigit() and int(named) in kept:
        return kept[int(named)]
    return next((each for each in kept.values() if each.fields == fields), None)


def examine_address(given: Json) -> tuple[Json, list[Complaint]]:
    """The fields of one address as they are kept, and what is wrong with them."""
    problems: list[Complaint] = []
    fields: Json = {}
    for name, words in _TEXTS.items():
        text = (given.get(name) or "").strip() or None
        fields[name] = text
        if text is not None:
            problems += [((name,), f"{words} {fault}", code) for fault, code in _faults(text)]
    country = given.get("countryCode") or _country_of(given.get("country"))
    if given.get("country") and country is None:
        problems.append((("country",), "Country is invalid", "INVALID"))
    fields["countryCodeV2"] = country
    province = given.get("provinceCode") or given.get("province")
    fields["provinceCode"] = province
    if province and not _PROVINCE.fullmatch(province):
        problems.append((("province",), "Province is invalid", "INVALID"))
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
    """A country given by its code, where `countryCode` should have been used."""
    codes: Any = load_schema().type_map["CountryCode"]
    return name if name in codes.values else None
