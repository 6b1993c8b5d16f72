"""A plan in a terminal, in a pull request, as a page, and as JSON."""

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

from inline_snapshot import snapshot
from rich.cells import cell_len
from rich.console import Console

from reconciler.cli.render import outputs as render
from reconciler.core.model.action import Change
from reconciler.core.model.ids import ClerkUserId, CustomerId
from reconciler.core.plan.guard import guard_hold
from reconciler.core.plan.plan import Plan, build_plan
from tests.cli.plans import AT, change, create, example, hold, store_plan, update
from tests.cli.screen import shown

EVIL = "x\x1b[2J\x1b]0;title\x07\u202eevil\x9b31m|`<script>alert(1)</script>`` @octocat\n# head"


def text_of(plan: Plan, *, width: int = 80, terminal: bool = False, everything: bool = False) -> str:
    def draw(console: Console) -> None:
        render.print_plan(plan, console, detail="all" if everything else "examples")

    return shown(draw, width=width, terminal=terminal)


def evil_plan() -> Plan:
    action = update("user_1", 7, change("first_name", "Ada", EVIL), change("tags", [], [EVIL]))
    held = hold("user_2", "EmailTaken", f"the email is also claimed by {EVIL}")
    return build_plan([store_plan("acme-us", (action,), (held,))], created_at=AT)


def undigested(text: str) -> str:
    """Without the digest, which is another with each new field of an action."""
    return text.replace(example().digest, "sha256:DIGEST")


def test_a_plan_reads_well_at_eighty_columns() -> None:
    assert undigested(text_of(example())) == snapshot("""\
acme-fr  acme-fr.myshopify.com
  could not be planned: StoreSuspended: acme-fr.myshopify.com refuses the token
  hint: install the app again, or set its token

acme-us  acme-us.myshopify.com
  2 to create · 1 to adopt · 1 to update · 1 to release · 7 held · 195 in sync

  create  2 new customers  (profile changed)
  + user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdE
      email: ada@example.com · first_name: Ada · last_name: Lovelace ·
      metafields.clerk.avatar_url: https://img.example.com/user_2Nq8Vb1RkY… ·
      tags: app-user
  + user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdF
      email: grace@example.com · first_name: Grace · last_name: Hopper ·
      metafields.clerk.avatar_url: https://img.example.com/user_2Nq8Vb1RkY… ·
      tags: app-user

  adopt  1 existing customer to link to a user  (profile changed)
  & user_3  customer 7  edsger@example.com
      first_name: Edsger
      tags: + app-user

  update  1 customer with changed fields
  ~ user_4  customer 8  Ada Byron  customer-8@example.com
      first_name: Ada → Adah  (profile changed)
      phone: +16134505293 → –  (profile changed)
      last_name: Staff Edit → Byron  (drift)
      tags: + new-tag - old-tag  (config changed)

  release  1 customer to release
  - user_9  customer 9  on_leave: keep

  held  7 decisions not to act
  ! GuardExceeded 3 update  the operator must act  reconciler docs GuardExceeded
    See the plan, then approve it by its digest, or raise the guard.
      3 update actions are above the ceiling of 2
  ~ update, 3 alike
      tags: + club  (config changed)
      user_10, user_11, user_12
  ! EmailTaken 2  the operator must act  reconciler docs EmailTaken
    Decide which user has it, and change the other profile.
      user_5  the email is also claimed by user_6
      user_6  the email is also claimed by user_5
  ! EmailUnverified 2  the profile must change  reconciler docs EmailUnverified
    The user verifies it in Clerk, or set trust_email: always.
      the profile's email is not verified, so it is neither written nor used
      user_7, user_8

  forecast  80 points, about 0.8 s at the shop's restore rate

acme-eu  acme-eu.myshopify.com
  88 in sync

5 actions, 7 holds, 283 in sync, 1 store could not be planned
3 actions withheld by a guard; to approve exactly these:
  reconciler apply --approve sha256:DIGEST
digest sha256:DIGEST
made at 2026-11-23 09:00 UTC
""")


def test_no_line_is_wider_than_the_terminal_unless_one_value_is() -> None:
    for width in (60, 80, 120):
        for line in text_of(example(), width=width).splitlines():
            assert cell_len(line) <= width or "https://" in line or "sha256:" in line


def test_wide_characters_count_double() -> None:
    plan = build_plan(
        [store_plan("acme-us", (create("user_1", "a@example.com", "山田" * 9, "太郎" * 9),), ())], created_at=AT
    )
    assert all(cell_len(line) <= 80 for line in text_of(plan).splitlines() if "https://" not in line)


def test_colour_is_only_for_terminals() -> None:
    assert "\x1b[" in text_of(example(), terminal=True)
    assert "\x1b" not in text_of(example())


def test_a_terminal_without_unicode_gets_ascii() -> None:
    text = shown(lambda console: render.print_plan(example(), console), encoding="ascii")
    assert "first_name: Ada -> Adah" in text


def test_a_long_plan_is_cut_and_says_how_to_see_all_of_it() -> None:
    actions = tuple(create(f"user_{n:03}", f"p{n}@example.com", "Pat", "Doe") for n in range(120))
    holds = tuple(hold(f"user_h{n:03}", "NoEmail", "the profile has no email", "profile") for n in range(50))
    plan = build_plan([store_plan("acme-us", actions, holds)], created_at=AT)
    text = text_of(plan)
    assert len(text.splitlines()) < 60
    assert "… and 117 more create: --all shows them, --output json has them" in text
    assert "… and 47 more held: --all shows them, --output json has them" in text
    whole = text_of(plan, everything=True)
    assert all(a.clerk_user_id in whole for a in actions)
    assert all(h.clerk_user_id in whole for h in holds)
    assert "more" not in whole


def test_nothing_to_do_is_one_plain_line() -> None:
    plan = build_plan([store_plan("acme-us", (), (), 200)], created_at=AT)
    assert "✓ nothing to do: 200 in sync" in text_of(plan)


def test_stores_with_nothing_to_do_are_shown_together_after_the_others() -> None:
    names = [f"shop-{number:02}" for number in range(60)]
    held = hold("user_1", "NoEmail", "the profile has no email")
    plan = build_plan([store_plan(name, (), (held,) if name == "shop-30" else (), 2) for name in names], created_at=AT)
    text = text_of(plan)
    assert text.index("shop-30  shop-30.myshopify.com") < text.index("59 stores  shop-00, shop-01, ")
    assert "and 19 more\n  118 in sync\n" in text
    assert len(text.splitlines()) <= 20


def test_what_a_guard_holds_can_be_allowed_with_the_digest() -> None:
    held = hold("user_1", "GuardExceeded", "600 update actions are above the ceiling of 500")
    plan = build_plan([store_plan("acme-us", (), (held,))], created_at=AT)
    assert f"reconciler apply --approve {plan.digest}" in text_of(plan)
    assert f"reconciler apply --approve {plan.digest}" in render.plan_markdown(plan)
    assert f"reconciler apply --approve {plan.digest}" in "".join(render.plan_html(plan))


def test_a_plan_says_where_it_counts_what_can_not_be_reverted() -> None:
    kept = next(action for action in example().stores[2].actions if action.kind == "release")
    gone = [replace(kept, clerk_user_id=ClerkUserId(f"user_{how}"), how=how) for how in ("erase", "delete")]
    alike = [replace(gone[0], clerk_user_id=ClerkUserId(f"user_{n}")) for n in (1, 2)]
    held = tuple(guard_hold(action, "2 releases are above the ceiling of 1") for action in alike)
    plan = build_plan([store_plan("acme-us", (kept, *gone), held)], created_at=AT)
    never = "irreversible: 1 customer to erase with all personal data, 1 customer to delete"
    text = " ".join(text_of(plan, width=200).split())
    assert f"release 3 customers to release ({never})" in text
    assert f"3 actions ({never}), 2 holds" in text
    assert "2 actions withheld by a guard (irreversible: 2 customers to erase with all personal data)" in text
    assert "release, 2 alike on_leave: erase, irreversible" in text
    for page in (render.plan_markdown(plan), "".join(render.plan_html(plan))):
        assert f"3 customers to release ({never})" in page
        assert f"3 actions ({never}), 2 holds" in page
        assert "2 actions withheld by a guard (irreversible: 2 customers to erase with all personal data)" in page
        assert "on_leave: keep" in page
        assert page.count("on_leave: delete, irreversible") == 1
    assert "irreversible" not in text_of(example())


def test_stores_in_which_only_customers_and_names_differ_are_printed_once() -> None:
    same = update("user_1", 1, change("note", None, "x"))
    new = create("user_2", "p@example.com", "Pat", "Doe")
    actions = [(replace(same, customer_id=CustomerId(f"gid://shopify/Customer/{n}")), new) for n in (1, 2, 3)]
    other = (update("user_1", 4, change("note", None, "y")),)
    stores = [store_plan(f"shop-{n}", each, ()) for n, each in enumerate([*actions, other])]
    text = text_of(build_plan(stores, created_at=AT))
    assert "3 stores  shop-0, shop-1, shop-2\n  in each of them:\n  1 to create · 1 to update" in text
    assert text.count("+ user_2") == 1
    assert "  customer 1  " not in text
    assert "shop-3  shop-3" in text
    assert "customer 4" in text
    narrow = text_of(build_plan(stores, created_at=AT), width=20)
    assert "3 stores  shop-0" in narrow, "although the id of a customer does not fit into the line of its user"


def test_a_deletion_by_undo_is_not_said_to_be_a_setting_of_the_store() -> None:
    kept = next(action for action in example().stores[2].actions if action.kind == "release")
    change = Change(field="customer", before=kept.customer_id, after=None, why="undo")
    plan = build_plan([store_plan("acme-us", (replace(kept, how="delete", changes=(change,)),), ())], created_at=AT)
    for page in (text_of(plan, width=200), render.plan_markdown(plan), "".join(render.plan_html(plan))):
        assert "delete, irreversible" in page
        assert "on_leave" not in page


def test_no_name_can_command_the_terminal() -> None:
    for terminal in (False, True):
        text = text_of(evil_plan(), terminal=terminal)
        bare = re.sub(r"\x1b\[[0-9;]*m", "", text)  # rich's own colours
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", bare)
        assert "\\x1b[2J" in bare
    for output in (
        "".join(render.plan_json(evil_plan())),
        render.plan_markdown(evil_plan()),
        "".join(render.plan_html(evil_plan())),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", output)


def test_rich_markup_in_a_name_is_only_text() -> None:
    plan = build_plan(
        [store_plan("acme-us", (update("user_1", 7, change("note", None, "[red]x[/]")),), ())], created_at=AT
    )
    assert "note: – → [red]x[/]" in text_of(plan)


def test_letters_of_all_languages_stay_as_they_are() -> None:
    names = ["Søren", "Łukasz", "Ngô Đình", "محمد", "نیک\u200cنام", "山田太郎", "👩\u200d🚀"]
    plan = build_plan(
        [store_plan("acme-us", tuple(update(f"u{i}", i, change("note", None, n)) for i, n in enumerate(names)), ())],
        created_at=AT,
    )
    for output in (
        text_of(plan, width=200, everything=True),
        "".join(render.plan_json(plan)),
        render.plan_markdown(plan),
        html.unescape("".join(render.plan_html(plan))),
    ):
        assert all(name in output for name in names)


def test_json_has_the_promised_shape() -> None:
    body = json.loads("".join(render.plan_json(example())))
    assert {"version", "digest", "created_at", "summary", "stores"} <= body.keys()
    assert body["version"] == 1
    assert body["created_at"] == "2026-11-23T09:00:00Z"
    counted = {"create", "adopt", "update", "relink", "merge", "release", "hold", "in_sync"}
    assert body["summary"].keys() == counted
    eu, fr, us = body["stores"]
    assert (eu["store"], eu["shop"], eu["error"]) == ("acme-eu", "acme-eu.myshopify.com", None)
    assert fr["error"].startswith("StoreSuspended")
    assert us["summary"].keys() == counted
    assert us["forecast"].keys() >= {"points", "seconds"}
    update_ = next(a for a in us["actions"] if a["kind"] == "update")
    assert {"kind", "clerk_user_id", "customer_id", "changes", "cost_points"} <= update_.keys()
    assert update_["changes"][0] == {
        "field": "first_name", "before": "Ada", "after": "Adah", "why": "profile changed",
    }  # fmt: skip
    assert {"clerk_user_id", "customer_id", "reason", "message", "who_acts"} <= us["holds"][0].keys()


def test_json_gives_back_exactly_what_was_there() -> None:
    body = json.loads("".join(render.plan_json(evil_plan())))
    assert body["stores"][0]["actions"][0]["changes"][0]["after"] == EVIL


def test_markdown_reads_well_in_a_pull_request() -> None:
    assert undigested(render.plan_markdown(example())) == snapshot("""\
## Customer parity: 5 actions, 7 holds, 283 in sync, 1 store could not be planned

| store | create | adopt | update | relink | merge | release | hold | in sync |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
| acme-eu | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 88 |
| acme-fr | ? | ? | ? | ? | ? | ? | ? | ? |
| acme-us | 2 | 1 | 1 | 0 | 0 | 1 | 7 | 195 |
| **all** | 2 | 1 | 1 | 0 | 0 | 1 | 7 | 283 |

**acme-eu** (acme-eu.myshopify.com): nothing to do, 88 in sync

**acme-fr** (acme-fr.myshopify.com) could not be planned: `StoreSuspended: acme-fr.myshopify.com refuses the token`

hint: `install the app again, or set its token`

<details open><summary><b>acme-us</b> (acme-us.myshopify.com): 5 actions, 7 holds</summary>

#### create: 2 new customers

- `user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdE` (profile changed)
  - `email`: `ada@example.com`
  - `first_name`: `Ada`
  - `last_name`: `Lovelace`
  - `metafields.clerk.avatar_url`: `https://img.example.com/user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdE.png`
  - `tags`: added `app-user`
  - `backlink`: `user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdE`
- `user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdF` (profile changed)
  - `email`: `grace@example.com`
  - `first_name`: `Grace`
  - `last_name`: `Hopper`
  - `metafields.clerk.avatar_url`: `https://img.example.com/user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdF.png`
  - `tags`: added `app-user`
  - `backlink`: `user_2Nq8Vb1RkYxW3cTfZs5LhJ0aMdF`

#### adopt: 1 existing customer to link to a user

- `user_3` customer 7 `edsger@example.com` (profile changed)
  - `first_name`: `Edsger`
  - `tags`: added `app-user`

#### update: 1 customer with changed fields

- `user_4` customer 8 `Ada Byron` `customer-8@example.com`
  - `first_name`: `Ada` → `Adah` (profile changed)
  - `phone`: `+16134505293` → `–` (profile changed)
  - `last_name`: `Staff Edit` → `Byron` (drift)
  - `tags`: added `new-tag`, removed `old-tag` (config changed)

#### release: 1 customer to release

- `user_9` customer 9 on_leave: keep

#### held, GuardExceeded: 3

`reconciler docs GuardExceeded`: the operator must act. More would change than the store's guards allow. See the plan, then approve it by its digest, or raise the guard.

`3 update actions are above the ceiling of 2`

- **update, 3 alike**: `user_10`, `user_11`, `user_12`
  - `tags`: added `club` (config changed)

#### held, EmailTaken: 2

`reconciler docs EmailTaken`: the operator must act. The email belongs to the customer of another user, or two users claim it. Decide which user has it, and change the other profile.

- `user_5`: `the email is also claimed by user_6`
- `user_6`: `the email is also claimed by user_5`

#### held, EmailUnverified: 2

`reconciler docs EmailUnverified`: the profile must change. The email is not verified, so no customer is matched or changed by it. The user verifies it in Clerk, or set trust_email: always.

`the profile's email is not verified, so it is neither written nor used`: `user_7`, `user_8`

Forecast: 80 points, about 0.8 s at the shop's restore rate

</details>

**3 actions withheld by a guard.** To approve exactly these: `reconciler apply --approve sha256:DIGEST`

Made at 2026-11-23 09:00 UTC, digest `sha256:DIGEST`.\
""")  # noqa: E501  Markdown's paragraphs are lines


def test_in_markdown_everything_foreign_stays_in_its_code_span() -> None:
    text = render.plan_markdown(evil_plan())
    outside = "\n".join(_without_code_spans(line) for line in text.splitlines())
    assert "<script" not in outside
    assert "@octocat" not in outside
    assert "alert" not in outside
    tags = set(re.findall(r"</?[a-z]+[^>]*>", outside))
    assert tags <= {"<details open>", "<summary>", "<b>", "</b>", "</summary>", "</details>"}
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1


def test_markdown_fits_into_a_comment() -> None:
    actions = tuple(create(f"user_{n:05}", f"p{n}@example.com", "Pat", "Doe") for n in range(3000))
    plan = build_plan([store_plan(f"acme-{n}", actions, ()) for n in range(3)], created_at=AT)
    text = render.plan_markdown(plan)
    assert len(text) <= 60_000
    assert "more; `reconciler plan --output json` has them" in text
    some = tuple(update(f"user_{n}", 1, change("note", None, "x" * 900)) for n in range(4))
    for stores, words in ((120, "… and 4 more"), (250, "too many for a comment")):
        plan = build_plan([store_plan(f"acme-{n:03}", some, ()) for n in range(stores)], created_at=AT)
        text = render.plan_markdown(plan)
        assert len(text) <= 60_000
        assert words in text
        assert f"| acme-{stores - 1:03} |" in text


def test_the_page_needs_nothing_from_elsewhere_and_holds_each_action() -> None:
    page = Page()
    page.feed("".join(render.plan_html(example())))
    assert page.loads == []
    assert page.tags.isdisjoint({"script", "iframe", "object", "form"})
    assert page.closed
    text = " ".join(page.words)
    for words in ("acme-us", "Adah", "+ new-tag", "− old-tag", "EmailTaken", "drift", "could not be planned"):
        assert words.lower() in text.lower(), words


def test_customers_that_a_guard_keeps_from_deletion_are_one_line_in_each_output() -> None:
    held = []
    for number in range(20):
        gid = CustomerId(f"gid://shopify/Customer/{number}")
        gone = replace(update(f"user_{number:02}", number, change("customer", gid, None, "undo")), kind="release")
        held.append(replace(hold(f"user_{number:02}", "GuardExceeded", "20 are above the ceiling of 2"), action=gone))
    plan = build_plan([store_plan("acme-us", (), tuple(held))], created_at=AT)
    assert re.search(r"release, 20 alike\n +customer: each → –  \(undo\)\n +user_00, user_01", text_of(plan))
    assert "- **release, 20 alike**" in render.plan_markdown(plan)
    page = "".join(render.plan_html(plan))
    assert "each</del>" in page.partition("one by one")[0]
    assert "gid://" not in page.partition("one by one")[0]


def test_no_name_can_put_markup_on_the_page() -> None:
    text = "".join(render.plan_html(evil_plan()))
    page = Page()
    page.feed(text)
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in " ".join(page.words)


def _without_code_spans(line: str) -> str:
    """By CommonMark's rule: a run of backticks closes with the next run of the same length."""
    runs = [(m.start(), m.end()) for m in re.finditer("`+", line)]
    kept, position, index = "", 0, 0
    while index < len(runs):
        start, end = runs[index]
        close = next((j for j in range(index + 1, len(runs)) if runs[j][1] - runs[j][0] == end - start), None)
        assert close is not None, f"a backtick run of {line!r} never closes"
        kept += line[position:start]
        position, index = runs[close][1], close + 1
    return kept + line[position:]


class Page(HTMLParser):
    """Tags, words and everything that would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.loads: list[str] = []
        self._open: list[str] = []

    @property
    def closed(self) -> bool:
        return not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href", "srcset"}]
        if tag not in {"meta", "br", "wbr"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.split("\n")
