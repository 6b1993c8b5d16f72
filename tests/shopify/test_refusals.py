"""What Shopify refuses comes out in our field names and with codes that can be relied on, whatever the wording."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.model.ids import ShopDomain
from reconciler.errors import AnswerLost, Refusal, Refused
from reconciler.shopify.api.document import document
from reconciler.shopify.api.failures import Sent
from reconciler.shopify.api.refusals import refusal, refusal_error, write_error

CASES: list[tuple[dict[str, Any], str | None, str]] = [
    ({"code": "TAKEN", "field": ["input", "email"], "message": "Email has already been taken"}, "email", "TAKEN"),
    ({"code": "TAKEN", "field": ["input", "phone"], "message": "Phone has already been taken"}, "phone", "TAKEN"),
    ({"code": "INVALID", "field": ["input", "firstName"], "message": "bad"}, "first_name", "INVALID"),
    ({"code": "NOT_FOUND", "field": ["input"], "message": "Resource … was not found."}, None, "NOT_FOUND"),
    ({"code": "TOO_LONG", "field": ["input", "lastName"], "message": "Last name is too long"}, "last_name", "TOO_LONG"),
    ({"code": "NEW_CODE", "field": ["input", "newField"], "message": "?"}, None, "NEW_CODE"),
    ({"code": "TAKEN", "field": ["identifier", "customId"], "message": "taken"}, "backlink", "TAKEN"),
    ({"field": ["email"], "message": "Email has already been taken"}, "email", "TAKEN"),
    ({"field": ["email"], "message": "Email is invalid"}, "email", "INVALID"),
    ({"field": ["email"], "message": "Email contains an invalid domain name"}, "email", "INVALID"),
    ({"field": ["firstName"], "message": "First name cannot contain URL"}, "first_name", "INVALID"),
    ({"field": ["note"], "message": "Note is too long (maximum is 5000 characters)"}, "note", "TOO_LONG"),
    ({"field": ["tags"], "message": "Tags cannot be more than 250"}, "tags", "TOO_LONG"),
    ({"field": None, "message": "A name, phone number, or email address must be present"}, None, "BLANK"),
    ({"field": ["input"], "message": "Customer must have a name, phone number or email address"}, None, "BLANK"),
    ({"field": ["id"], "message": "Customer does not exist"}, None, "NOT_FOUND"),
    ({"field": ["id"], "message": "Customer doesn’t exist"}, None, "NOT_FOUND"),
    ({"field": ["id"], "message": "Customer can't be found"}, None, "NOT_FOUND"),
    ({"field": ["id"], "message": "Customer can’t be found"}, None, "NOT_FOUND"),
    ({"field": ["id"], "message": "Customer could not be found"}, None, "NOT_FOUND"),
    ({"field": ["id"], "message": "Customer is gone"}, None, "NOT_FOUND"),
    ({"field": ["id"], "message": "Customer can’t be deleted because they have associated orders"}, None, "HAS_ORDERS"),
    ({"field": ["id"], "message": "Customer can't be deleted because they have associated orders"}, None, "HAS_ORDERS"),
    ({"field": ["id"], "message": "Customer can’t be deleted"}, None, "INVALID"),
    ({"code": "DOES_NOT_EXIST", "field": ["customerId"], "message": "Customer does not exist"}, None, "NOT_FOUND"),
    ({"field": ["webhookSubscription", "callbackUrl"], "message": "Address … has already been taken"}, None, "TAKEN"),
    ({"field": None, "message": None}, None, "INVALID"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "field", "code"), CASES)
def test_an_error_becomes_our_field_and_a_code(error: dict[str, Any], field: str | None, code: str) -> None:
    found = refusal(error)
    assert (found.field, found.code) == (field, code)
    assert found.message == (error["message"] or "no reason given")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "INVALID_VALUE", "field": ["metafields", "1", "value"], "elementIndex": 1, "message": "bad"},
         Refusal("metafields.clerk.two", "INVALID_VALUE", "bad")),
        ({"code": "INVALID_VALUE", "field": ["metafields", "0", "value"], "elementIndex": None, "message": "bad"},
         Refusal("metafields.clerk.one", "INVALID_VALUE", "bad")),
        ({"code": "LESS_THAN_OR_EQUAL_TO", "field": ["metafields"], "elementIndex": None, "message": "many"},
         Refusal("metafields", "LESS_THAN_OR_EQUAL_TO", "many")),
        ({"code": "INVALID_VALUE", "field": ["metafields", "0", "ownerId"], "elementIndex": 0,
          "message": "Owner does not exist."}, Refusal("metafields.clerk.one", "NOT_FOUND", "Owner does not exist.")),
        ({"code": "INVALID_VALUE", "field": ["metafields", "0", "value"], "elementIndex": 1, "message": "bad element"},
         Refusal("metafields.clerk.one", "INVALID_VALUE", "bad element")),
        ({"code": "APP_NOT_AUTHORIZED", "field": ["metafields", "1"], "elementIndex": None, "message": "no access"},
         Refusal("metafields.clerk.two", "APP_NOT_AUTHORIZED", "no access")),
    ],
)  # fmt: skip
def test_an_error_of_a_list_names_the_item(error: dict[str, Any], expected: Refusal) -> None:
    assert refusal_error([error], items=["metafields.clerk.one", "metafields.clerk.two"]).refusals == (expected,)


MERGES = [
    ("Customers must have 250 tags or less.", "the two together have more than 250 tags"),
    (
        "Customer notes must be 5,000 characters or less.",
        "the notes of the two together are longer than 5,000 characters",
    ),
    ("Ada Lovelace has gift cards and can\u2019t be merged.", "one of the two has gift cards"),
    ("Tag Notes has gift cards and can't be merged.", "one of the two has gift cards"),
    ("Ada Lovelace has active subscriptions.", "one of the two has subscriptions"),
    (
        "Ada Lovelace has open draft orders and can\u2019t be merged.",
        "one of the two has open draft orders",
    ),
    (
        "Ada Lovelace can't be merged",
        "Shopify can't merge one of the two; its reason contains a name: try the merge in Shopify to see it",
    ),
]


@pytest.mark.parametrize("code", ["CUSTOMER_HAS_GIFT_CARDS", "INVALID_CUSTOMER"])
@pytest.mark.parametrize(("message", "cause"), MERGES)
def test_a_merge_that_is_refused_has_one_sentence_of_its_cause_and_names_no_one(
    code: str, message: str, cause: str
) -> None:
    errors = [{"code": code, "field": [name], "message": message} for name in ("customerOneId", "customerTwoId")]
    found = refusal_error(errors)
    assert found.refusals == (Refusal(None, code, cause),)
    assert found.message == f"customer: {cause}"
    assert found.hint
    assert "Ada" not in found.message


def test_several_refusals_come_together_with_a_remedy() -> None:
    error = refusal_error(
        [
            {"field": ["id"], "message": "Customer can’t be deleted because they have associated orders"},
            {"field": ["email"], "message": "Email is invalid"},
        ]
    )
    assert error.has("HAS_ORDERS")
    assert error.has("INVALID", "email")
    assert not error.has("INVALID", "phone")
    assert "on_leave" in error.hint


SENT = Sent(ShopDomain("acme.myshopify.com"), document("metafields_set"))
FAILURE = {"code": "INTERNAL_ERROR", "field": None, "message": "Something went wrong, please try again"}


def test_a_failure_of_shopifys_own_is_no_refusal_of_what_was_sent() -> None:
    error = write_error(SENT, [FAILURE, FAILURE])
    assert isinstance(error, AnswerLost)
    assert error.message == (
        "acme.myshopify.com: mutation metafieldsSet: INTERNAL_ERROR: Something went wrong, please try again"
    )


def test_beside_a_failure_of_shopifys_own_what_was_refused_is_refused() -> None:
    error = write_error(SENT, [FAILURE, {"code": "INVALID", "field": ["input", "email"], "message": "bad"}])
    assert isinstance(error, Refused)
    assert error.refusals == (Refusal("email", "INVALID", "bad"),)
