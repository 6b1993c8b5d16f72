"""A saved plan that somebody edited and sealed again: nothing is written that a fresh decision would not write."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.inprocess import Shown
from tests.stories.harness import StoryHarness, mail

ODD: tuple[Any, ...] = (
    None, True, -1, 10**30, "", " ", "\u0000", "\u202e", "a" * 5000, [], {}, [None], "user_cyd", "user_dee", "acme-us",
    "gid://shopify/Customer/1", "sha256:" + "0" * 64, "create", "adopt", "release", "merge", "email", "tags",
)  # fmt: skip
USERS = ("ada", "bob", "cyd", "dee", "eve")


@pytest.fixture
def due(story: StoryHarness) -> StoryHarness:
    """Ada is to be created, Bob changed, Dee to leave, and Eve's guest to be adopted; nothing is to be done for Cyd."""
    story.store["on_leave"] = "tag"
    for name in ("bob", "cyd", "dee"):
        story.user(name)
    story.apply()
    story.user("ada")
    story.user("bob", last_name="Builder")
    story.gone("dee")
    story.staff("guest_checkout", email=mail("eve"))
    story.user("eve")
    return story


def edited(tree: Any, chance: random.Random) -> Any:
    """The same JSON with one value, key or element changed somewhere."""
    part = tree
    while isinstance(part, dict | list) and part:
        key: Any = chance.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if isinstance(part[key], dict | list) and part[key] and chance.random() < 0.75:
            part = part[key]
            continue
        match chance.choice(("drop", "add", "set", "set", "set")):
            case "drop":
                del part[key]
            case "add" if isinstance(part, list):
                part.append(part[key])
            case _:
                part[key] = chance.choice(ODD)
        return tree
    return tree


def forge(plan: Path, chance: random.Random) -> None:
    """Edit one to three lines of the file, and seal it again."""
    lines = [json.loads(line) for line in plan.read_bytes().splitlines()[:-1]]
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(lines))
        lines[at] = edited(lines[at], chance)
    if chance.random() < 0.2:
        lines.append(chance.choice(lines[1:]))
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    plan.write_bytes(body + b'{"seal":"sha256:%s"}\n' % hashlib.sha256(body).hexdigest().encode())


def facts(story: StoryHarness) -> dict[str, Shown]:
    """The customers by email; each of them has one."""
    return {str(customer.email): customer for customer in story.everybody().values()}


def named(customer: Shown) -> tuple[Any, ...]:
    return customer.first_name, customer.last_name, customer.tags, customer.backlink, customer.note, customer.phone


@pytest.mark.parametrize("seed", range(60))
def test_a_forged_plan_writes_what_is_due_or_nothing(due: StoryHarness, seed: int) -> None:
    path = due.folder / "the.plan"
    assert due("plan", "--out", str(path)).code == 0
    forge(path, random.Random(seed))
    before = {email: named(customer) for email, customer in facts(due).items()}
    said = due("apply", str(path), "--yes")
    after = {email: named(customer) for email, customer in facts(due).items()}
    assert said.code in {0, 1}
    assert "unexpected" not in said.err
    assert said.code == 0 or "hint: " in said.err
    due.apply()
    whole = {email: named(customer) for email, customer in facts(due).items()}
    assert sorted(whole) == sorted(map(mail, USERS))
    assert all(value in (before.get(email), whole[email]) for email, value in after.items())
    due.settles()
