"""Plans that lie in a file: shown, saved, loaded and applied as those in memory are, byte for byte."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reconciler.cli.files import plan_file as planfile
from reconciler.cli.render import outputs as render
from reconciler.controller.scan.spool import IN_MEMORY, Spool
from reconciler.core.model.action import Action, Hold, action_order, hold_order
from reconciler.core.model.ids import ClerkUserId, StoreName
from reconciler.core.model.json import json_of
from reconciler.core.plan.plan import Plan, build_plan
from reconciler.core.report.status import ApplyResult, Failure
from reconciler.errors import PlanRefused
from tests.cli.harness import EU, US, CliHarness
from tests.cli.plans import AT, change, create, example, hold, store_plan, update
from tests.cli.test_plan_apply import check_nothing_left

SMALL = 300  # bytes: every few values are written out


def many() -> Plan:
    """Some forty actions and as many holds."""
    creates = [create(f"user_{n:03}", f"p{n}@example.com", "Zoë \u202e", 'of "Acme"\n') for n in range(30)]
    updates = [update(f"user_{n:03}", n, change("note", "<b>", None, "drift")) for n in range(30, 42)]
    one = [hold(f"user_{n:03}", "NoEmail", "the row has no email", "profile") for n in range(50, 70)]
    two = [hold(f"user_{n:03}", "EmailTaken", f"it is also that of user_{n - 1:03}") for n in range(70, 85)]
    return build_plan(
        [store_plan("acme-us", (*creates, *updates), (*one, *two), 7), *example().stores[:2]], created_at=AT
    )


def in_a_file(plan: Plan) -> Plan:
    """The same, its large lists in files."""
    stores = []
    for store in plan.stores:
        actions, holds = (
            Spool(Action, action_order, in_memory_bytes=SMALL),
            Spool(Hold, hold_order, in_memory_bytes=SMALL),
        )
        for action in store.actions:
            actions.add(action)
        for each in store.holds:
            holds.add(each)
        stores.append(replace(store, actions=actions.whole(), holds=holds.whole()))
    assert isinstance(stores[-1].actions, Spool)
    assert isinstance(stores[-1].holds, Spool)
    return build_plan(stores, created_at=plan.created_at)


def text_of(plan: Plan, *, everything: bool) -> str:
    console = Console(file=io.StringIO(), width=80)
    render.print_plan(plan, console, detail="all" if everything else "examples")
    said = console.file
    assert isinstance(said, io.StringIO)
    return said.getvalue()


def test_every_face_of_a_plan_is_the_same_wherever_it_lies() -> None:
    memory, file = many(), in_a_file(many())
    assert memory.digest == file.digest
    assert "".join(render.plan_json(memory)) == "".join(render.plan_json(file))
    assert render.plan_markdown(memory) == render.plan_markdown(file)
    assert "".join(render.plan_html(memory)) == "".join(render.plan_html(file))
    for everything in (False, True):
        assert text_of(memory, everything=everything) == text_of(file, everything=everything)


@pytest.mark.parametrize("plan", [many(), example(), build_plan([], created_at=AT)], ids=["many", "example", "none"])
def test_json_in_parts_is_what_it_would_be_as_a_whole(plan: Plan) -> None:
    from reconciler.cli.render.json import dumps  # noqa: PLC0415  how everything else is written

    body = {**json_of(plan), "created_at": "2026-11-23T09:00:00Z"}
    assert "".join(render.plan_json(plan)) == dumps(body)


def test_failures_without_number_are_reported_in_order() -> None:
    failed = Spool(Failure, lambda f: (f.clerk_user_id,), in_memory_bytes=SMALL)
    for n in (5, 3, 9, 1, 7):
        message = "the profile has changed since the plan was made"
        failed.add(Failure(clerk_user_id=ClerkUserId(f"u{n}"), kind="create", result="refused", message=message))
    result = ApplyResult(store=StoreName("acme"), failed=failed.whole())
    body = json.loads("".join(render.results_json([result], "sha256:x")))
    assert [f["clerk_user_id"] for f in body["stores"][0]["failed"]] == ["u1", "u3", "u5", "u7", "u9"]
    assert body["stores"][0] == json_of(result)
    console = Console(file=io.StringIO(), width=80)
    render.print_results([result], console)
    assert "5 not applied" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_page_shows_so_many_and_says_how_many_more() -> None:
    page = "".join(render.plan_html(many(), shown=10))
    assert page.count('<tbody class="action">') == 20
    assert page.count("user_050") == 1
    assert "user_065" not in page
    assert page.count("… and 20 more: <code>reconciler plan --output json</code> has them") == 1  # of 30 creates
    assert all(f"… and {n} more" in page for n in (2, 10, 5))


# --- saved -----------------------------------------------------------------------------------------------------------


def saved_plan(plan: Plan) -> planfile.SavedPlan:
    return planfile.SavedPlan(program="1", narrowed=False, plan=plan, withheld={"acme-us": plan.stores[-1].actions})


def load_in_small_parts(path: Path, key: str | None = None) -> tuple[planfile.SavedPlan, str]:
    return planfile.load(path, key=key, program="1", in_memory_bytes=SMALL)


def sealed(lines: list[bytes], key: str | None = None) -> bytes:
    """These lines with their seal, as a person with an editor could make it."""
    text = b"".join(lines)
    made = hashlib.sha256(text) if key is None else hmac.new(key.encode(), text, hashlib.sha256)
    return text + f'{{"seal":"{"hmac-" if key else ""}sha256:{made.hexdigest()}"}}\n'.encode()


def head(change: Callable[[dict[str, Any]], object]) -> Callable[[list[bytes]], None]:
    """A change of the first line."""

    def apply(lines: list[bytes]) -> None:
        first = json.loads(lines[0])
        change(first)
        lines[0] = json.dumps(first).encode() + b"\n"

    return apply


@pytest.mark.parametrize("key", [None, "a key of ours"])
def test_a_saved_plan_is_the_same_file_wherever_the_plan_lay(tmp_path: Path, key: str | None) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    memory = saved_plan(many())
    planfile.save(memory, one, key=key)
    planfile.save(saved_plan(in_a_file(many())), other, key=key)
    assert one.read_bytes() == other.read_bytes()
    lines = one.read_bytes().splitlines(keepends=True)
    assert one.read_bytes() == sealed(lines[:-1], key)
    values = [len(s.actions) + len(s.holds) for s in memory.plan.stores] + [len(memory.withheld["acme-us"])]
    assert len(lines) == 2 + sum(values)
    loaded, seal = load_in_small_parts(one, key)
    assert isinstance(loaded.plan.stores[-1].actions, Spool)
    assert json_of(loaded) == json_of(memory)
    assert seal == json.loads(lines[-1])["seal"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: lines.__setitem__(-1, lines[-1].replace(b'"update"', b'"destroy"')), "another version"),
        (lambda lines: lines.__setitem__(-1, b"7\n"), "another version"),
        (lambda lines: lines.append(lines[-1]), "it was changed"),
        (lambda lines: lines.pop(), "it was changed"),
        (head(lambda first: first.update(program="2")), "made by version 2"),
        (head(lambda first: first.update(format="customer-parity plan 3")), "not a saved plan"),
        (head(lambda first: first["plan"].update(stores={"acme": 1})), "not a saved plan"),
        (head(lambda first: first.update(plan=[1])), "not a saved plan"),
        (head(lambda first: first.pop("plan")), "not a saved plan"),
        (head(lambda first: first.update(lengths={})), "it was changed"),
        (head(lambda first: first["lengths"]["acme-us"].update(actions=-1)), "not a saved plan"),
        (head(lambda first: first["lengths"]["acme-us"].update(actions=10**9)), "it was changed"),
    ],
)
def test_what_is_no_plan_of_ours_is_refused_though_it_be_sealed(tmp_path: Path, change: Any, says: str) -> None:
    path = tmp_path / "the.plan"
    planfile.save(saved_plan(many()), path, key=None)
    lines = path.read_bytes().splitlines(keepends=True)[:-1]
    change(lines)
    path.write_bytes(sealed(lines))
    with pytest.raises(PlanRefused, match=says):
        load_in_small_parts(path)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "7", '"x"', "[]", "{", '{"a"', '{"a":1', '{"a":1,}', "{1:2}", '{"a":1} more', "\ud800", "[" * 99999],
)
def test_what_is_no_json_is_no_saved_plan(tmp_path: Path, text: str) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(PlanRefused, match="not a saved plan"):
        planfile.load(path, key=None, program="1")


# --- through the command line ----------------------------------------------------------------------------------------


@pytest.fixture
def many_users(ready: CliHarness) -> CliHarness:
    """Forty more people in one shop, some of them with nothing to write to. Their actions are too long for memory."""
    ready.settings["profiles"]["columns"]["image_url"] = "about"
    ready.stores[US]["metafields"] = {"app.about": {"from": "image_url", "type": "multi_line_text_field"}}
    for n in range(40):
        email = f"p{n}@example.com" if n % 5 else None
        ready.add({"clerk_user_id": f"user_{n:02}", "email": email, "first_name": f"Pat {n}", "locale": "en-US"})
    ready.sql("alter table customers add column about text")
    ready.sql("update customers set about = ? where locale = 'en-US'", "lorem ipsum " * 5000)
    assert ready("bootstrap", "--yes").code == 0
    return ready


def seen(cli: CliHarness, *words: str) -> Any:
    body = cli("plan", "--output", "json", *words).json
    return {**body, "created_at": None}


@pytest.mark.slow
def test_a_plan_that_is_too_long_for_memory_is_shown_saved_and_applied(many_users: CliHarness) -> None:
    whole = seen(many_users)
    actions = [a for store in whole["stores"] for a in store["actions"]]
    assert len(json.dumps(actions)) > IN_MEMORY
    assert [a["clerk_user_id"] for a in actions] == [
        "user_dora",
        *(f"user_{n:02}" for n in range(40) if n % 5),
        "user_ada",
        "user_bob",
    ]
    text = many_users("plan", "--all").out
    assert all(a["clerk_user_id"] in text for a in actions)
    path = many_users.folder / "the.plan"
    assert many_users("plan", "--out", str(path)).code == 0
    many_users.sql("update customers set first_name = 'Changed' where clerk_user_id = 'user_07'")
    said = many_users("apply", str(path), "--yes", "--output", "json")
    assert said.code == 1
    eu, us = said.json["stores"]
    assert (eu["store"], eu["applied"], us["applied"], us["held"]) == (EU, {"create": 1}, {"create": 33}, 9)
    assert [(f["clerk_user_id"], f["result"]) for f in us["failed"]] == [("user_07", "refused")]
    assert many_users("apply", "--yes").code == 0
    assert len(many_users.customers()) == 34
    check_nothing_left(many_users)


@pytest.mark.slow
def test_what_a_guard_holds_of_a_plan_in_a_file_is_approved_as_it_was_read(many_users: CliHarness) -> None:
    many_users.stores[US]["guards"] = {"create": {"max": 10}}
    whole = seen(many_users, "--store", US)
    assert many_users("apply", "--store", US, "--yes").code == 0
    assert many_users.customers() == {}
    held = many_users("mappings", "list", "--store", US, "--output", "json").json
    assert {m["reason"] for m in held} == {"GuardExceeded", "NoEmail"}
    assert many_users("apply", "--store", US, "--yes", "--bulk", "always", "--approve", whole["digest"]).code == 0
    assert len(many_users.customers()) == 34
    assert many_users("plan", "--store", US, "--detailed-exitcode").code == 0
