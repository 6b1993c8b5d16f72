"""The table of scalar fields: what each line must have, and what a new line must not change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.core.fields.desired import profile_digest
from reconciler.core.fields.fingerprint import observed_fp, values_json
from reconciler.core.model.customer import Customer
from reconciler.core.model.ids import UNIQUE, ClerkUserId, CustomerId
from reconciler.core.model.profile import Profile
from reconciler.core.model.scalars import FIRST, IDENTITIES, LATER, SCALARS, FieldPolicies, Scalars

ADA = Profile(
    clerk_user_id=ClerkUserId("user_ada"),
    email="ada@example.com",
    email_verified=True,
    first_name="Ada",
    locale="en",
    updated_at=datetime(2026, 11, 1, tzinfo=UTC),
    metadata={"plan": "pro"},
)


def test_each_field_has_a_declaration_and_a_policy() -> None:
    assert tuple(Scalars.model_fields) == SCALARS == tuple(FieldPolicies.model_fields)
    assert set(UNIQUE) <= set(IDENTITIES) <= set(SCALARS)


def test_later_fields_are_behind_those_of_the_first_version() -> None:
    assert set(SCALARS[: len(FIRST)]) == FIRST
    assert SCALARS[len(FIRST) :] == LATER
    assert {FieldPolicies().of(name) for name in LATER} <= {"ignore"}


def test_a_profile_has_the_digest_that_the_first_version_stored() -> None:
    assert profile_digest(ADA) == "299941a633c24fa0"


@pytest.mark.parametrize("field", SCALARS)
def test_each_field_counts_in_digests_and_fingerprints(field: str) -> None:
    row = Profile.model_validate({"clerk_user_id": "user_ada", field: "x"})
    there = Customer.model_validate({"id": "gid://shopify/Customer/1", field: "x"})
    assert profile_digest(row) != profile_digest(Profile(clerk_user_id=ClerkUserId("user_ada")))
    assert observed_fp(there) != observed_fp(Customer(id=CustomerId("gid://shopify/Customer/1")))
    assert values_json(there.scalars(), (), None, ()) == f'{{"{field}":"x"}}'
    assert (row.scalar(field), there.scalar(field)) == ("x", "x")
