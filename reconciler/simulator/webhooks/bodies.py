"""The bodies of webhooks about customers, in REST format and with fewer fields than GraphQL.

Shopify webhook topics, read 2026-11-23: no tags, no consent and no order figures; ids are JSON integers beyond 2^53;
states in lower case; times with the shop's offset.
"""

from reconciler.simulator.customers.records import Address, SimCustomer, SimMerge, rare
from reconciler.simulator.graphql.documents import Json
from reconciler.simulator.ledger import gid, iso, offset_iso

TOPICS = {
    "CUSTOMER_TAGS_ADDED": "customer.tags_added",
    "CUSTOMER_TAGS_REMOVED": "customer.tags_removed",
    "CUSTOMER_JOINED_SEGMENT": "customer.joined_segment",
    "CUSTOMER_LEFT_SEGMENT": "customer.left_segment",
    "APP_SCOPES_UPDATE": "app/scopes_update",
    "APP_UNINSTALLED": "app/uninstalled",
    "SHOP_UPDATE": "shop/update",
    "BULK_OPERATIONS_FINISH": "bulk_operations/finish",
}


def topic_header(topic: str) -> str:
    """X-Shopify-Topic for a topic of the enum: CUSTOMERS_CREATE is customers/create."""
    head, _, tail = topic.lower().partition("_")
    return TOPICS.get(topic, f"{head}/{tail}")


def customer_body(customer: SimCustomer, currency: str) -> Json:
    facts = rare(customer)
    default = next((each for each in facts.addresses if each.number == facts.default_address), None)
    return {
        "id": customer.number,
        "created_at": offset_iso(customer.created_at),
        "updated_at": offset_iso(customer.updated_at),
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "state": customer.state.lower(),
        "note": customer.note,
        "verified_email": not facts.unverified,
        "multipass_identifier": facts.multipass,
        "tax_exempt": facts.tax_exempt,
        "email": customer.email,
        "phone": customer.phone,
        "currency": currency,
        "addresses": [_address(customer, each, default) for each in facts.addresses],
        "tax_exemptions": list(facts.tax_exemptions),
        "admin_graphql_api_id": gid("Customer", customer.number),
        "default_address": None if default is None else _address(customer, default, default),
    }


def _address(customer: SimCustomer, address: Address, default: Address | None) -> Json:
    given = address.fields
    return {
        "id": address.number,
        "customer_id": customer.number,
        "first_name": given.get("firstName"),
        "last_name": given.get("lastName"),
        "company": given.get("company"),
        "address1": given.get("address1"),
        "address2": given.get("address2"),
        "city": given.get("city"),
        "province_code": given.get("provinceCode"),
        "country_code": given.get("countryCodeV2"),
        "zip": given.get("zip"),
        "phone": given.get("phone"),
        "default": address is default,
    }


def deleted_body(number: int) -> Json:
    return {"id": number, "tax_exemptions": [], "admin_graphql_api_id": gid("Customer", number)}


def tags_body(number: int, tags: list[str], at: float) -> Json:
    return {"customerId": gid("Customer", number), "tags": tags, "occurredAt": iso(at)}


def merge_body(merge: SimMerge, status: str) -> Json:
    return {
        "admin_graphql_api_customer_kept_id": gid("Customer", merge.winner),
        "admin_graphql_api_customer_deleted_id": gid("Customer", merge.loser),
        "admin_graphql_api_job_id": merge.job,
        "status": status,
        "errors": [
            {"customer_ids": [merge.winner, merge.loser], "field": field, "message": message}
            for field, message in merge.errors
        ],
    }
