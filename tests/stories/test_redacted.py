"""Personal data that was erased in Shopify is not written back, though no webhook announced the erasure."""

from __future__ import annotations

import pytest

from tests.stories.harness import StoryHarness, mail

ERASED = {("ada", "Erased")}


@pytest.fixture
def two(story: StoryHarness) -> StoryHarness:
    for name in ("ada", "bob"):
        story.user(name, last_name="First", phone=f"+1415555010{len(name)}" if name == "ada" else None)
    story.apply()
    return story


@pytest.mark.parametrize("bulk", ["never", "always"])
@pytest.mark.parametrize("link", ["kept", "removed"])
def test_a_redacted_customer_is_not_filled_again(two: StoryHarness, link: str, bulk: str) -> None:
    customer = two.theirs("ada").id
    two.staff("redact", id=customer)
    if link == "kept":
        two.staff("set_metafield", id=customer, namespace="clerk", key="user_id", value="user_ada", type="id")
    assert two.held() == ERASED
    assert two("drift").code == 0, "a hold is no drift"
    two.apply("--bulk", bulk)
    two.user("ada", first_name="Adah")
    two.settles(held=ERASED)
    there = two.everybody()[customer]
    assert (there.email, there.first_name, there.phone, there.tags) == (None, None, None, ())
    row = two.mappings()["ada"]
    assert (row["status"], row["reason"]) == ("held", "Erased")


def test_no_other_customer_is_made_when_the_redacted_one_has_gone(two: StoryHarness) -> None:
    customer = two.theirs("ada").id
    two.staff("redact", id=customer)
    two.apply()
    two.staff("delete", id=customer)
    two.settles(held=ERASED)
    two.apply()
    two.settles(held=ERASED)
    assert two("mappings", "forget", "user_ada", "--yes").code == 0
    two.apply()
    assert two.theirs("ada").email == mail("ada")
    two.settles()


def test_a_customer_with_names_that_are_only_hidden_is_not_taken_for_a_redacted_one(two: StoryHarness) -> None:
    two.staff(
        "unapprove", fields=["firstName", "lastName", "defaultEmailAddress", "defaultPhoneNumber", "email", "phone"]
    )
    reasons = {reason for _, reason in two.held()}
    assert "Unreadable" in reasons
    assert "Erased" not in reasons
