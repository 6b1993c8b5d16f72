"""Prints a plan as text: for each store a heading, what would change and why, what is held and who must act.

Readable without colour and at 80 columns. Long lists are cut, with a line that says how many more there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from rich.console import Console
from rich.text import Text

from reconciler.cli.approval import APPROVE
from reconciler.cli.render.accepted import print_accepted
from reconciler.cli.render.alike import for_any_store, group_alike, print_heading
from reconciler.cli.render.flow import LinePrinter, LineRecorder, Piece, words_of
from reconciler.cli.render.parts import (
    KIND_WORDS,
    WHO_WORDS,
    HeldGroup,
    KindGroup,
    accepted_text,
    actions_by_kind,
    change_parts,
    common_why,
    counts_of,
    docs_command,
    field_text,
    forecast_of,
    guarded_text,
    holds_by_reason,
    how_text,
    taken_words,
    totals_of,
)
from reconciler.cli.render.plain import (
    WAVE_UNKNOWN,
    clean,
    count_text,
    customer_text,
    sentence,
    short_text,
    time_text,
)
from reconciler.core.model.action import Action, Change, Kind
from reconciler.core.plan.plan import Plan, StorePlan

SHOWN = 3  # examples of a kind of action, or of a reason, in one store
NEW_VALUE_MAX = 40  # characters of a value of a new customer; its email is never cut
Detail = Literal["brief", "examples", "all"]
Groups = tuple[Sequence[KindGroup], Sequence[HeldGroup]]
IN_SYNC, HELD = "green", "yellow"
NEWLY: frozenset[Kind] = frozenset({"create", "adopt"})  # most fields had no value: they are printed in one row


def print_plan(plan: Plan, console: Console, *, detail: Detail = "examples", approve: str = APPROVE) -> None:
    """Print the plan: one line for each example, examples with their fields, or every action and hold.

    `approve` is the command that approves the withheld actions; the digest is appended to it.
    """
    lines = LinePrinter(console)
    if detail == "all":
        _print_each(plan.stores, lines)
    else:
        _print_alike(plan.stores, lines, brief=detail == "brief")
    quiet = ((store, _unaffected_answers(store)) for store in plan.stores if _is_quiet(store))
    for answers, alike in group_alike(quiet).items():
        in_sync = sum(store.summary.in_sync for store in alike)
        print_heading([(store.store, store.shop) for store in alike], lines)
        lines.put((f"{in_sync:,} in sync" if in_sync else "nothing to do", IN_SYNC), indent=2)
        _print_unaffected(answers if len(alike) > 1 else [each.answer for each in alike[0].unaffected], lines)
        lines.blank()
    _print_totals(plan, lines, approve, brief=detail == "brief")


def _print_each(stores: Iterable[StorePlan], lines: LinePrinter) -> None:
    """Print each store with every action and hold: too many to compare them."""
    for store in stores:
        if not _is_quiet(store):
            print_heading([(store.store, store.shop)], lines)
            _print_store(store, _groups_of(store, None), lines, None, brief=False)
            lines.blank()


def _print_alike(stores: Iterable[StorePlan], lines: LinePrinter, *, brief: bool) -> None:
    """Print the counts and examples of each store; once for stores where only the ids of the customers differ."""
    drawn: dict[tuple[str, ...], tuple[list[StorePlan], list[Text], list[Text]]] = {}
    for store in stores:
        if not _is_quiet(store):
            groups = _groups_of(store, SHOWN)
            full, anonymous = LineRecorder(lines.console), LineRecorder(lines.console)
            _print_store(store, groups, full, SHOWN, brief=brief)
            _print_store(store, _without_customers(groups), anonymous, SHOWN, brief=brief)
            shape = tuple(line.plain for line in anonymous.lines)
            drawn.setdefault(shape, ([], full.lines, anonymous.lines))[0].append(store)
    for alike, full_lines, common_lines in drawn.values():
        print_heading([(store.store, store.shop) for store in alike], lines)
        if len(alike) > 1:
            lines.put(("in each of them:", "dim"), indent=2)
        for line in full_lines if len(alike) == 1 else common_lines:
            lines.line(line)
        lines.blank()


def _groups_of(store: StorePlan, limit: int | None) -> Groups:
    return actions_by_kind(store, limit), holds_by_reason(store, limit)


def _without_customers(groups: Groups) -> Groups:
    """These examples without the ids of their customers, as different shops never have the same."""
    kinds, holds = groups
    return (
        [replace(kind, actions=[replace(each, customer_id=None) for each in kind.actions]) for kind in kinds],
        [
            replace(held, changes=[replace(c, action=replace(c.action, customer_id=None)) for c in held.changes])
            for held in holds
        ],
    )


def _is_quiet(store: StorePlan) -> bool:
    """Whether this store has neither actions, nor holds, nor drift that is accepted, and all of it is known."""
    anything = store.summary.actions or store.summary.hold or store.accepted or store.wave_error
    return store.error is None and not anything


def _unaffected_answers(store: StorePlan) -> tuple[str, ...]:
    return tuple(for_any_store(each.answer, store.store) for each in store.unaffected)


def _print_unaffected(answers: Iterable[str], lines: LinePrinter) -> None:
    for answer in answers:
        lines.prose(clean(answer), indent=2, hang=2)


def _print_store(store: StorePlan, groups: Groups, lines: LinePrinter, limit: int | None, *, brief: bool) -> None:
    if store.error is not None:
        lines.failure("could not be planned", store.error, store.error_hint)
        return
    lines.flow(((words, _count_style(name)) for name, _, words in counts_of(store.summary)), indent=2, between=" · ")
    if store.wave_error:
        lines.failure(WAVE_UNKNOWN, store.wave_error, store.wave_hint)
    kinds, reasons = groups
    for kind in kinds:
        _print_kind(kind, lines, limit, brief=brief)
    if brief:
        for reason in reasons:
            lines.flow(_held_heading(reason), indent=2, hang=4, between="  ")
    else:
        _print_holds(store, reasons, lines, limit)
    if store.accepted:
        lines.blank()
        print_accepted(store.accepted, lines, limit)
    if store.unaffected:
        lines.blank()
        _print_unaffected([each.answer for each in store.unaffected], lines)
    if store.actions and not brief:
        lines.blank()
        words = words_of(forecast_of(store.forecast))
        lines.flow([("forecast ", "bold"), *words], indent=2, hang=2)


def _print_holds(store: StorePlan, groups: Sequence[HeldGroup], lines: LinePrinter, limit: int | None) -> None:
    if groups:
        lines.blank()
        lines.put(
            ("held", f"bold {HELD}"), (f"  {count_text(len(store.holds), 'decision')} not to act", "dim"), indent=2
        )
    for group in groups:
        _print_held(group, lines, limit)


def _count_style(name: str) -> str:
    styles: dict[str, str] = {kind: words.style for kind, words in KIND_WORDS.items()}
    return styles.get(name, HELD if name == "hold" else IN_SYNC)


def _print_kind(group: KindGroup, lines: LinePrinter, limit: int | None, *, brief: bool) -> None:
    words = KIND_WORDS[group.kind]
    if not brief:
        lines.blank()
    why = group.why if group.kind in NEWLY else ""
    heading: list[Piece] = [(group.kind, f"bold {words.style}"), (group.text, "dim")]
    lines.flow([*heading, (f"({why})", "dim")] if why else heading, indent=2, hang=2, between="  ")
    for action in group.actions:
        if brief:
            lines.flow(_in_brief(action), indent=4, hang=2, between="  ")
        else:
            _print_action(action, lines, why_shown=bool(why))
    _print_rest(group.count, limit, group.kind, lines)


def _in_brief(action: Action) -> list[Piece]:
    """The user, the email of the customer, and the names of the fields that change."""
    email = action.email or next((change_parts(c)[1] for c in action.changes if c.field == "email"), "")
    fields = ", ".join(field_text(c) for c in action.changes if c.field != "backlink")
    pieces: list[Piece] = [
        (f"{KIND_WORDS[action.kind].mark} {clean(action.clerk_user_id)}", KIND_WORDS[action.kind].style)
    ]
    pieces += [(clean(email), "")] if email else []
    return [*pieces, (fields, "dim")] if fields and action.kind not in NEWLY else pieces


def _print_action(action: Action, lines: LinePrinter, *, why_shown: bool) -> None:
    """Print one action; without the reason of its changes if that was shown for its whole kind."""
    words = KIND_WORDS[action.kind]
    newly = action.kind in NEWLY
    why = common_why(action) if newly and not why_shown else ""
    heading: list[Piece] = [(f"{words.mark} {clean(action.clerk_user_id)}", words.style)]
    customer = (customer_text(action.customer_id), clean(action.name or ""), clean(action.email or ""))
    heading += [(text, "dim") for text in customer if text]
    heading += [(words, "dim") for words in taken_words(action)]
    if action.how:
        heading.append((how_text(action), "dim"))
    if why:
        heading.append((f"({why})", "dim"))
    lines.flow(heading, indent=2, hang=2, between="  ")
    changes = [c for c in action.changes if not (newly and c.field == "backlink")]
    set_now = [c for c in changes if newly and c.before in (None, [], ())]
    lines.flow([_new_value(c) for c in set_now], indent=6, between=" · ")
    for change in changes:
        if change not in set_now:
            _print_change(change, lines, with_why=not why and not why_shown)


def _new_value(change: Change) -> Piece:
    value = change_parts(change)[1]
    return f"{field_text(change)}: {value if change.field == 'email' else short_text(value, NEW_VALUE_MAX)}", ""


def _print_change(change: Change, lines: LinePrinter, *, with_why: bool) -> None:
    before, after = change_parts(change)
    pieces: list[Piece] = [(f"{field_text(change)}:", "bold")]
    if change.field == "tags":
        pieces += [(f"+ {after}", "green")] if after != "–" else []
        pieces += [(f"- {before}", "red")] if before != "–" else []
    else:
        pieces += [(before, "red"), (f"→ {after}", "green")]
    pieces += [(f" ({change.why})", "dim")] if with_why else []
    lines.flow(pieces, indent=6, hang=4)


def _held_heading(group: HeldGroup) -> list[Piece]:
    kinds = ", ".join(dict.fromkeys(same.action.kind for same in group.changes))
    return [
        (f"! {group.reason} {group.count:,} {kinds}".rstrip(), HELD),
        (WHO_WORDS[group.who_acts], ""),
        (docs_command(group.reason), "dim"),
    ]


def _print_held(group: HeldGroup, lines: LinePrinter, limit: int | None) -> None:
    lines.flow(_held_heading(group), indent=2, hang=4, between="  ")
    if group.next_step:
        lines.prose(group.next_step, "dim", indent=4)
    same = group.message
    if group.changes:
        _print_withheld(group, lines, limit)
        return
    if same is not None:
        lines.prose(same, indent=6)
        lines.flow(((clean(h.clerk_user_id), "dim") for h in group.holds), indent=6, between=", ")
    else:
        for hold in group.holds:
            words = words_of(sentence(hold.message))
            lines.flow([(f"{clean(hold.clerk_user_id)} ", "dim"), *words], indent=6, hang=2)
    _print_rest(group.count, limit, "held", lines)


def _print_withheld(group: HeldGroup, lines: LinePrinter, limit: int | None) -> None:
    """Print the withheld actions: grouped by equal changes and, without a limit, also one by one."""
    if group.message is not None:
        lines.prose(group.message, indent=6)
    shown = group.changes[:limit]
    for same in shown:
        if same.count == 1:
            _print_action(same.action, lines, why_shown=False)
            continue
        words = KIND_WORDS[same.action.kind]
        how = [(how_text(same.action), "dim")] if same.action.how else []
        heading = [(f"{words.mark} {same.action.kind}, {same.count:,} alike", words.style), *how]
        lines.flow(heading, indent=2, between="  ")
        for change in same.action.changes:
            _print_change(change, lines, with_why=True)
        more = ", …" if same.count > len(same.users) else ""
        lines.flow(((clean(u), "dim") for u in [*same.users[:-1], same.users[-1] + more]), indent=6, between=", ")
    rest = group.uncounted + sum(same.count for same in group.changes[len(shown) :])
    _print_rest(rest, 0 if limit is not None else None, "held", lines)
    if limit is None and any(same.count > 1 for same in shown):
        lines.prose("one by one", "dim", indent=6)
        for hold in group.holds:
            if hold.action is not None:
                _print_action(hold.action, lines, why_shown=False)


def _print_rest(count: int, limit: int | None, what: str, lines: LinePrinter) -> None:
    if limit is not None and count > limit:
        lines.prose(f"… and {count - limit:,} more {what}: --all shows them, --output json has them", "dim", indent=6)


def _print_totals(plan: Plan, lines: LinePrinter, approve: str, *, brief: bool) -> None:
    summary = plan.summary
    broken = any(s.error or s.wave_error for s in plan.stores)
    if not summary.actions and not summary.hold and not broken:
        accepted = f", {words}" if (words := accepted_text(plan.stores)) else ""
        lines.put(("✓ ", "bold green"), (f"nothing to do: {summary.in_sync:,} in sync{accepted}", "bold"))
    else:
        lines.prose(totals_of(summary, plan.stores), "bold")
    if waiting := guarded_text(plan.stores):
        lines.prose(f"{waiting}; to approve exactly these:")
        lines.put((f"{approve} {plan.digest}", ""), indent=2)
    lines.put(("digest ", "dim"), (plan.digest, "dim"))
    if not brief:
        lines.put((f"made at {time_text(plan.created_at)}", "dim"))
