"""customerMerge: which customer remains, with which fields, and what forbids the merge.

The order of the arguments does not decide the winner. Unlike other mutations, a merge takes time, and changes nothing until
it is done. Schema descriptions and live replies, read 2026-11-23.
"""

from dataclasses import dataclass
from typing import Final

from reconciler.simulator.customers.normalisation import tags as sorted_tags
from reconciler.simulator.customers.reading.queries import Reading
from reconciler.simulator.customers.reading.views import (
    CustomerView,
    email_view,
    merge_blockers,
    merge_view,
    phone_view,
)
from reconciler.simulator.customers.records import Metafield, SimCustomer, SimMerge, rare
from reconciler.simulator.customers.validation import NOTE_MAX, TAGS_MAX
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import gid, top_level, user_error
from reconciler.simulator.webhooks.bodies import deleted_body, merge_body

POLLS_TO_END: Final = 2
WILLING: Final = frozenset({"SUBSCRIBED", "PENDING"})
Pair = tuple[SimCustomer, SimCustomer]
_OVERRIDES: Final = {
    "customerIdOfFirstNameToKeep": "first_name",
    "customerIdOfLastNameToKeep": "last_name",
    "customerIdOfPhoneNumberToKeep": "phone",
    "customerIdOfEmailToKeep": "email",
}


SAME: Final = "Customers IDs should not match"
_HAS: Final = {
    "GIFT_CARDS": "has gift cards and can’t be merged.",
    "STORE_CREDIT": "has store credit and can’t be merged.",
    "SUBSCRIPTIONS": "has subscriptions and can’t be merged.",
    "CUSTOMER_PAYMENT_METHODS": "has payment methods and can’t be merged.",
}


@dataclass(frozen=True, slots=True)
class Blocker:
    """What forbids a merge, and for which customer: None for both, -1 for neither."""

    number: int | None
    field: str
    message: str
    code: str


class Merging(Reading):
    failing_merges: int = 0
    """The number of next merges that fail."""

    # --- root fields ----------------------------------------------------------------------------------------------

    def customer_merge_preview(
        self, customer_one_id: str, customer_two_id: str, override_fields: Json | None = None
    ) -> Json:
        overrides = override_fields or {}
        if customer_one_id == customer_two_id:
            raise top_level(SAME, "BAD_REQUEST")
        one, two, errors = self._pair(customer_one_id, customer_two_id)
        if one is None or two is None or errors:
            said = [{"errorFields": ["OVERRIDE_FIELDS"], "message": each["message"]} for each in errors]
            return {"customerMergeErrors": said, "resultingCustomerId": None}
        winner, loser = self._winner_first(one, two, overrides)
        blocked = self._blocked(winner, loser, overrides)
        merged = merged_fields(winner, loser, overrides)
        over = {"note": merged["note"], "tags": list(merged["tags"])} if _is_too_much(merged) else None
        return {
            "customerMergeErrors": [{"errorFields": [each.field], "message": each.message} for each in blocked] or None,
            "resultingCustomerId": None if blocked else gid("Customer", winner.number),
            "blockingFields": over,
            "defaultFields": None if over else _preview(winner, merged),
            "alternateFields": _alternate(winner, loser),
        }

    def customer_merge(self, customer_one_id: str, customer_two_id: str, override_fields: Json | None = None) -> Json:
        overrides = override_fields or {}
        one, two, errors = self._pair(customer_one_id, customer_two_id)
        if one is None or two is None or errors:
            return {"job": None, "resultingCustomerId": None, "userErrors": errors}
        winner, loser = self._winner_first(one, two, overrides)
        blocked = self._blocked(winner, loser, overrides)
        if blocked:
            names = {one.number: "customerOneId", two.number: "customerTwoId"}
            errors = [
                user_error((names[number],), each.message, each.code)
                for number in names
                for each in blocked
                if each.number in {number, None}
            ] + [user_error(None, each.message, each.code) for each in blocked if each.number == -1]
            return {"job": None, "resultingCustomerId": None, "userErrors": errors}
        job = self.new_job_id()
        merge = SimMerge(job, winner.number, loser.number, self.now(), overrides)
        self.merges[job] = self.merging[winner.number] = self.merging[loser.number] = merge
        return {
            "job": {"id": job, "done": False},
            "resultingCustomerId": gid("Customer", winner.number),
            "userErrors": [],
        }

    def customer_merge_job_status(self, job_id: str) -> Json | None:
        merge = self.merges.get(job_id)
        if merge is None:
            return None
        merge.polls += 1
        if merge.status in {"REQUESTED", "IN_PROGRESS"}:
            merge.status = "IN_PROGRESS"
            if merge.polls >= POLLS_TO_END:
                self._end(merge)
        return merge_view(merge)

    def job(self, id: str) -> Json | None:  # noqa: A002 - Shopify's name
        merge = self.merges.get(id)
        return super().job(id) if merge is None else {"id": id, "done": merge.status in {"COMPLETED", "FAILED"}}

    def settle(self) -> None:
        super().settle()
        for merge in list(self.merging.values()):
            if merge.status in {"REQUESTED", "IN_PROGRESS"} and self.now() - merge.at >= self.habits.merge_s:
                self._end(merge)

    def merge_now(self, winner: SimCustomer, loser: SimCustomer, overrides: Json) -> None:
        """Merge the two customers immediately."""
        values = merged_fields(winner, loser, overrides)
        tags = winner.tags
        self.remember(winner.number, winner)
        facts, other = winner.seldom(), rare(loser)
        self.erase(loser, quietly=True)
        email_of_loser = values["email"] == loser.email != winner.email
        self.people.change(winner, values | {"updated_at": self.now()})
        moved = {each.number: each for each in other.addresses}
        facts.addresses = sorted([*facts.addresses, *moved.values()], key=lambda each: each.number)
        theirs = overrides.get("customerIdOfDefaultAddressToKeep") == gid("Customer", loser.number)
        if (theirs or facts.default_address is None) and other.default_address in moved:
            facts.default_address = moved[other.default_address].number
        facts.had_orders = facts.had_orders or other.had_orders
        facts.sms_consent = facts.sms_consent or other.sms_consent
        facts.email_consent = other.email_consent if email_of_loser else facts.email_consent
        for each in loser.metafields:
            if winner.metafield(each.name) is None:
                copied = Metafield(self.next_number(), *each.name, each.type, each.value, self.now(), self.now())
                self.people.put_metafield(winner, copied)
        self.emit_update(winner, tags)
        if self.habits.merge_sends_delete:
            self.tell("CUSTOMERS_DELETE", lambda: deleted_body(loser.number))

    # --- steps ----------------------------------------------------------------------------------------------------

    def _pair(self, one_id: str, two_id: str) -> tuple[SimCustomer | None, SimCustomer | None, list[Json]]:
        errors = []
        found = []
        for name, identifier in (("customerOneId", one_id), ("customerTwoId", two_id)):
            customer = self.find(identifier)
            found.append(customer)
            if customer is None:
                number = identifier.rpartition("/")[2]
                errors.append(user_error((name,), f"Customer does not exist with ID {number}", "INVALID_CUSTOMER_ID"))
        if len(errors) == 2 and self._was_merged(one_id):  # noqa: PLR2004 - both of them
            errors = errors[1:]
        if one_id == two_id:
            errors = errors[:1] or [user_error(None, SAME, "INVALID_CUSTOMER_ID")]
        return found[0], found[1], errors

    def _was_merged(self, identifier: str) -> bool:
        """Whether that customer was merged into another: then only the other id is refused."""
        return any(gid("Customer", each.loser) == identifier for each in self.merges.values())

    def _winner_first(self, one: SimCustomer, two: SimCustomer, overrides: Json) -> Pair:
        named = overrides.get("customerIdOfEmailToKeep")
        if named is not None:
            return (one, two) if named == gid("Customer", one.number) else (two, one)
        if bool(one.email) != bool(two.email):
            return (one, two) if one.email else (two, one)
        for first, second in ((one, two), (two, one)):
            if first.state == "ENABLED" != second.state:
                return first, second
        willing = [customer for customer in (one, two) if _is_willing(customer)]
        if len(willing) == 1:
            return (one, two) if willing[0] is one else (two, one)
        for first, second in ((one, two), (two, one)):
            if first.state == "INVITED" != second.state:
                return first, second
        return two, one

    def _blocked(self, winner: SimCustomer, loser: SimCustomer, overrides: Json) -> list[Blocker]:
        found = []
        for customer in (winner, loser):
            fields = merge_blockers(customer)
            if customer.number in self.merging:
                fields.append("MERGE_IN_PROGRESS")
            name = CustomerView(self, customer).display_name()
            for field in fields:
                words = _HAS.get(field) or f"can’t be merged because of {field.replace('_', ' ').lower()}."
                found.append(Blocker(customer.number, field, f"{name} {words}", "INVALID_CUSTOMER"))
        ids = {gid("Customer", winner.number), gid("Customer", loser.number)}
        for name, value in overrides.items():
            if name.startswith("customerIdOf") and value is not None and value not in ids:
                words = f"{name} must be one of the customers to be merged."
                found.append(Blocker(-1, "OVERRIDE_FIELDS", words, "OVERRIDE_ATTRIBUTE_INVALID"))
        merged = merged_fields(winner, loser, overrides)
        if len(merged["tags"]) > TAGS_MAX:
            words = f"Customers must have {TAGS_MAX} tags or less."
            found.append(Blocker(None, "OVERRIDE_FIELDS", words, "INVALID_CUSTOMER"))
        if len(merged["note"] or "") > NOTE_MAX:
            words = f"Customer notes must be {NOTE_MAX:,} characters or less."
            found.append(Blocker(None, "OVERRIDE_FIELDS", words, "INVALID_CUSTOMER"))
        return found

    def _end(self, merge: SimMerge) -> None:
        winner, loser = (self.people.by_number.get(each) for each in (merge.winner, merge.loser))
        self.merging.pop(merge.winner, None)
        self.merging.pop(merge.loser, None)
        if self.failing_merges > 0 or winner is None or loser is None:
            self.failing_merges = max(0, self.failing_merges - 1)
            field = "DELETED_AT" if winner is None or loser is None else "MERGE_IN_PROGRESS"
            merge.status, merge.errors = "FAILED", ((field, "Customers couldn't be merged."),)
        else:
            merge.status = "COMPLETED"
            self.merge_now(winner, loser, merge.overrides)
        self.tell("CUSTOMERS_MERGE", lambda: merge_body(merge, merge.status.lower()))


def _is_willing(customer: SimCustomer) -> bool:
    consent = rare(customer).email_consent
    return consent is not None and consent.state in WILLING


def merged_fields(winner: SimCustomer, loser: SimCustomer, overrides: Json) -> Json:
    """The winner's fields: its own or the loser's; tags united and notes joined, unless overridden."""
    values: Json = {}
    for override, field in _OVERRIDES.items():
        first, second = (loser, winner) if overrides.get(override) == gid("Customer", loser.number) else (winner, loser)
        values[field] = getattr(first, field) or getattr(second, field)
    notes = [note for note in (winner.note, loser.note) if note]
    values["note"] = overrides["note"] if overrides.get("note") is not None else ("\n".join(notes) or None)
    given = overrides.get("tags")
    values["tags"] = sorted_tags(given if given is not None else [*winner.tags, *loser.tags])
    values["orders"] = winner.orders + loser.orders
    return values


def _is_too_much(merged: Json) -> bool:
    return len(merged["tags"]) > TAGS_MAX or len(merged["note"] or "") > NOTE_MAX


def _preview(winner: SimCustomer, merged: Json) -> Json:
    names = " ".join(part for part in (merged["first_name"], merged["last_name"]) if part)
    return {
        "email": email_view(merged["email"], rare(winner).email_consent) if merged["email"] else None,
        "phoneNumber": phone_view(merged["phone"], rare(winner).sms_consent) if merged["phone"] else None,
        "firstName": merged["first_name"],
        "lastName": merged["last_name"],
        "displayName": names or merged["email"] or merged["phone"] or "",
        "note": merged["note"],
        "tags": list(merged["tags"]),
    }


def _alternate(winner: SimCustomer, loser: SimCustomer) -> Json:
    """The loser's value, if both have one and they differ."""

    def other(field: str) -> str | None:
        mine, theirs = getattr(winner, field), getattr(loser, field)
        return theirs if mine and theirs and mine != theirs else None

    email, phone = other("email"), other("phone")
    return {
        "email": email_view(email, rare(loser).email_consent) if email else None,
        "phoneNumber": phone_view(phone, rare(loser).sms_consent) if phone else None,
        "firstName": other("first_name"),
        "lastName": other("last_name"),
    }
