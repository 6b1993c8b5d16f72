"""The console's pages as people meet them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.shops import ADA, LONG, RIGHT_TO_LEFT, UNBROKEN, busy
from tests.server.services import TOKEN, VIEWER, MemoryService, Noon, options, serving

Scheme = Literal["light", "dark"]
Look = tuple[Scheme, str]
PAGES = {
    "overview": "/",
    "people": "/people",
    "people-held": "/people?status=held&reason=EmailTaken",
    "people-none": "/people?q=no-one",
    "person": f"/people/{ADA}",
    "person-unbroken": f"/people/{quote(UNBROKEN)}",
    "person-unknown": "/people/user_unknown",
    "changes": "/events",
    "store": "/stores/acme-us",
    "plan": "/stores/acme-us/plan",
    "plan-empty": "/stores/acme-eu/plan",
    "plans": "/plans?store=acme-us&store=acme-eu",
    "ask": "/acts/ask?kind=pause&store=acme-us",
    "ask-accept": f"/acts/ask?kind=accept&store=acme-us&user={ADA}&fields=first_name,metafields.clerk.avatar_url",
    "rollout": "/rollout",
    "runs": "/runs",
    "run": "/runs/2",
    "run-unknown": "/runs/77",
    "run-undo": "/runs/2/undo",
    "ask-undo": "/acts/ask?kind=undo&run=2&digest=sha256:" + "0123456789abcdef" * 4,
}
WIDTHS = {"wide": (1280, 900), "phone": (375, 812)}
LOOKS: tuple[Look, ...] = (("light", "wide"), ("dark", "wide"), ("light", "phone"), ("dark", "phone"))
FIRST_LOOKS: tuple[Look, Look] = (("light", "wide"), ("dark", "phone"))
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
SCROLLED = "[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth)"
SHATTERED = """() => {
  const hidden = e => e && (getComputedStyle(e).clipPath !== 'none' || hidden(e.parentElement));
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (!node.parentElement.offsetParent || node.parentElement.closest('.id') || hidden(node.parentElement)) continue;
    for (const word of node.data.matchAll(/[A-Za-z]{2,14}/g)) {
      const range = document.createRange();
      range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      const [before, after] = [node.data.slice(0, word.index), node.data.slice(word.index + word[0].length)];
      const whole = before.split(/\\s/).pop() + word[0] + after.split(/\\s/)[0];
      if (lines.size > 1 && whole.length < 20) found.push(whole);
    }
  }
  return found;
}"""
"""Words that are broken into letters, since their column is too narrow; very long ones may break."""


def pages_in_looks() -> Iterator[Any]:
    """Each page with axe-core's rules in one look by turns, and in the others in `make explore`: they take a second each."""
    for number, name in enumerate(PAGES):
        first = FIRST_LOOKS[number % 2]
        yield pytest.param(name, (first,), id=name)
        others = tuple(look for look in LOOKS if look != first)
        yield pytest.param(name, others, id=f"{name}, other looks", marks=pytest.mark.explore)


@pytest.fixture
def operator(page: Page) -> Page:
    page.goto("/")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


@pytest.fixture
def pictures() -> Path | None:
    """Where screenshots are kept, for people: the folder in CONSOLE_PICTURES, if it is set."""
    folder = os.environ.get("CONSOLE_PICTURES")  # noqa: TID251  a wish of who runs the tests
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder) if folder else None


def faults_of(page: Page, name: str, looks: tuple[Look, ...], pictures: Path | None) -> list[str]:
    """What is wrong with the page that is open: of layout in every scheme and width, of axe-core's rules in `looks`."""
    found: list[str] = []
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme)
        wide, high = WIDTHS[width]
        page.set_viewport_size({"width": wide, "height": high})
        where = f"{name}, {scheme}, {width}"
        if not page.evaluate(FITS):
            found.append(f"{where}: wider than the screen")
        if width == "phone" and page.evaluate(SCROLLED):
            found.append(f"{where}: a table is wider than the screen")
        found += [f"{where}: shattered: {text!r}" for text in page.evaluate(SHATTERED)]
        for violation in Axe().run(page).response["violations"] if (scheme, width) in looks else ():
            nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
            found.append(f"{where}: {violation['id']}: {violation['help']}: {nodes}")
        if pictures:
            page.screenshot(path=pictures / f"{name}-{scheme}-{width}.png", full_page=True)
    return found


def test_a_word_that_breaks_into_letters_is_a_fault(operator: Page) -> None:
    operator.goto(f"/people/{ADA}")
    style = "{display: 'block', width: '1.5rem', whiteSpace: 'normal', overflowWrap: 'anywhere'}"
    operator.get_by_role("rowheader", name="email").first.evaluate(f"e => Object.assign(e.style, {style})")
    assert "email" in operator.evaluate(SHATTERED)


@pytest.mark.parametrize(("name", "looks"), list(pages_in_looks()))
def test_a_page_is_readable_in_every_scheme_and_width(
    operator: Page, name: str, looks: tuple[Look, ...], pictures: Path | None
) -> None:
    operator.goto(PAGES[name])
    assert faults_of(operator, name, looks, pictures) == []


def test_the_sign_in_page_is_readable_in_every_scheme_and_width(page: Page, pictures: Path | None) -> None:
    page.goto("/")
    assert faults_of(page, "sign-in", LOOKS, pictures) == []


def test_a_person_is_found_and_reconciled_by_the_keyboard_alone(operator: Page) -> None:
    operator.goto("/")
    for _ in range(12):
        operator.keyboard.press("Tab")
        if operator.evaluate("document.activeElement.name") == "q":
            break
    operator.keyboard.type(ADA)
    operator.keyboard.press("Enter")
    expect(operator.get_by_role("heading", name="People")).to_be_visible()
    operator.get_by_role("link", name=ADA, exact=True).first.focus()
    operator.keyboard.press("Enter")
    expect(operator.get_by_role("heading", name=LONG)).to_be_visible()
    operator.get_by_role("button", name="Reconcile now").focus()
    operator.keyboard.press("Enter")
    expect(operator.get_by_text("A reconcile is queued.")).to_be_visible()


def test_the_focus_is_visible_on_all_that_acts(operator: Page) -> None:
    operator.goto(f"/people/{ADA}")
    outlines: dict[str, str] = {}
    for _ in range(40):
        operator.keyboard.press("Tab")
        element, outline = operator.evaluate(
            "[document.activeElement.outerHTML.slice(0, 80), getComputedStyle(document.activeElement).outlineStyle]"
        )
        if element.startswith("<body"):
            break
        outlines[element] = outline
    assert len(outlines) > 5
    assert set(outlines.values()) == {"solid"}, outlines


def test_a_page_needs_no_script_and_loads_nothing_from_elsewhere(operator: Page, busy_console: str) -> None:
    asked: list[str] = []
    refused: list[str] = []
    operator.on("request", lambda request: asked.append(request.url))
    operator.on("console", lambda message: refused.append(message.text))
    for path in PAGES.values():
        operator.goto(path)
    assert {url.removeprefix("data:")[:1] for url in asked if not url.startswith(busy_console)} <= {","}
    assert [text for text in refused if "404" not in text] == []


def test_an_operator_is_asked_before_a_store_is_paused_and_sees_who_did_it(operator: Page) -> None:
    operator.goto("/stores/acme-us")
    operator.get_by_role("link", name="Pause").click()
    expect(operator.get_by_role("heading", name="Pause acme-us?")).to_be_visible()
    operator.get_by_role("button", name="Yes").click()
    expect(operator.get_by_text("Done: pause.")).to_be_visible()
    expect(operator.get_by_text("pause by console").first).to_be_visible()


def test_a_probe_says_what_it_found(operator: Page) -> None:
    operator.goto("/stores/acme-eu")
    operator.get_by_role("link", name="Probe").click()
    operator.get_by_role("button", name="Yes").click()
    expect(operator.get_by_text("Found: the shop grants access: Acme.")).to_be_visible()


def test_drift_is_accepted_until_the_day_that_was_chosen_and_healed_early(operator: Page) -> None:
    operator.goto(f"/people/{ADA}")
    operator.get_by_role("link", name="Accept this drift").click()
    operator.get_by_label("Until the end of").fill("2026-12-24")
    operator.get_by_role("button", name="Yes").click()
    expect(operator.get_by_text("Done: accept.")).to_be_visible()
    expect(operator.get_by_text("first name and last name stay")).to_have_count(0)
    operator.get_by_role("link", name="Heal now").first.click()
    operator.get_by_role("button", name="Yes").click()
    expect(operator.get_by_text("heal by console").first).to_be_visible()


def test_the_overview_follows_what_happens_and_needs_no_script(browser: Browser) -> None:
    service, clock = busy(MemoryService()), Noon()
    with serving(service, options(clock=clock)) as client:
        address = str(client.base_url).rstrip("/")
        for script in (True, False):
            context = browser.new_context(base_url=address, java_script_enabled=script)
            try:
                page = context.new_page()
                if script:
                    page.clock.install()
                page.goto(f"/?token={VIEWER}")
                expect(page.get_by_role("heading", name="Overview")).to_be_attached()
                if script:
                    service.reasons = ["the state has not answered for 7 s"]
                    clock.moved(seconds=5)
                    page.clock.run_for(5_000)
                expect(page.get_by_text("the state has not answered for 7 s")).to_be_visible()
            finally:
                context.close()


def test_a_run_is_undone_only_by_the_plan_that_was_shown(operator: Page) -> None:
    operator.goto("/runs/2")
    operator.get_by_role("link", name="Show the plan that undoes this run").click()
    operator.get_by_role("link", name="Undo exactly this").click()
    operator.get_by_role("button", name="Yes").click()
    expect(operator.get_by_role("alert")).to_contain_text("Nothing was done: the approved digest is")


def test_an_approval_of_another_plan_is_refused_with_the_reason(operator: Page) -> None:
    operator.goto("/stores/acme-us/plan")
    operator.get_by_role("link", name="Approve exactly this plan").click()
    operator.get_by_role("button", name="Yes").click()
    expect(operator.get_by_role("alert")).to_contain_text("Nothing was done: the approved digest is")


def test_who_may_only_read_finds_nothing_to_act_with(page: Page) -> None:
    page.goto(f"/stores/acme-us?token={VIEWER}")
    expect(page.get_by_role("heading", name="acme-us")).to_be_visible()
    for name in ("Pause", "Reconcile all"):
        expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)
    page.goto("/acts/ask?kind=pause&store=acme-us")
    expect(page.get_by_role("heading", name="Pause acme-us?")).to_have_count(0)


def test_a_change_of_right_to_left_values_reads_from_the_former_to_the_new_one(operator: Page) -> None:
    operator.goto("/events")
    former, new = (operator.get_by_text(value).first.bounding_box() for value in RIGHT_TO_LEFT)
    assert former is not None
    assert new is not None
    assert former["y"] == new["y"]
    assert former["x"] < new["x"]


def test_a_plan_is_selected_beside_the_name_of_its_store(operator: Page) -> None:
    wide, high = WIDTHS["phone"]
    operator.set_viewport_size({"width": wide, "height": high})
    operator.goto(PAGES["plans"])
    selected = operator.get_by_role("checkbox").first.bounding_box()
    assert selected is not None
    assert selected["width"] < 24
