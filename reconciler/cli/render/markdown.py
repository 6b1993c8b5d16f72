"""Renders a plan as Markdown for a pull request: a table of counts, and for each store a collapsed list of changes.

All external text is in code spans, so that no name can produce HTML, a table cell or a mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from reconciler.cli.approval import APPROVE
from reconciler.cli.render.accepted import accepted_words, until_words
from reconciler.cli.render.parts import (
    WHO_WORDS,
    HeldGroup,
    KindGroup,
    accepted_users,
    actions_by_kind,
    change_parts,
    common_why,
    docs_command,
    field_text,
    forecast_of,
    guarded_text,
    holds_by_reason,
    how_text,
    taken_words,
    totals_of,
)
from reconciler.cli.render.plain import WAVE_UNKNOWN, clean, count_text, customer_text, time_text
from reconciler.core.model.action import KINDS, AcceptedDrift, Action, Change
from reconciler.core.plan.plan import Plan, StorePlan, Summary

CHARACTERS = 60_000  # the limit of a comment on GitHub is 65,536
SHOWN = 200  # rows of one kind or reason in one store; fewer if the text would be too long
OPEN_UP_TO = 10  # actions of a store up to which its list is expanded
Part = tuple[StorePlan, Sequence[KindGroup], Sequence[HeldGroup]]


def plan_markdown(plan: Plan, *, approve: str = APPROVE) -> str:
    """The plan as Markdown, short enough for a comment. `approve`: see `print_plan`."""
    stores = [(s, actions_by_kind(s, SHOWN), holds_by_reason(s, SHOWN)) for s in plan.stores]
    rows = [kind.count for _, kinds, _ in stores for kind in kinds]
    rows += [reason.count for _, _, reasons in stores for reason in reasons]
    rows += [len(each) for store in plan.stores for each in (store.accepted, store.unaffected)]
    limit = min(SHOWN, max(rows, default=0))
    text = _document(plan, stores, limit, approve)
    while len(text) > CHARACTERS and limit > 0:
        limit //= 2
        text = _document(plan, stores, limit, approve)
    return text if len(text) <= CHARACTERS else _document(plan, None, limit, approve)


def code(text: str) -> str:
    """A code span with exactly this text."""
    shown = clean(text) or " "
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    inside = f" {shown} " if shown.startswith("`") or shown.endswith("`") else shown
    return f"{fence}{inside}{fence}"


def _document(plan: Plan, stores: Sequence[Part] | None, limit: int, approve: str) -> str:
    """The whole text; without `stores`, only the table has a line for each of them."""
    parts = [f"## Customer parity: {totals_of(plan.summary, plan.stores)}", "", *_table(plan), ""]
    if stores is None:
        parts += ["The changes are too many for a comment; `reconciler plan --output html` shows them.", ""]
    for store, actions, holds in stores or ():
        parts += [*_store(store, actions, holds, limit), ""]
    if waiting := guarded_text(plan.stores):
        held = f"**{waiting}.**"
        parts += [f"{held} To approve exactly these: {code(f'{approve} {plan.digest}')}", ""]
    return "\n".join([*parts, f"Made at {time_text(plan.created_at)}, digest `{plan.digest}`."])


def _table(plan: Plan) -> Iterator[str]:
    names = (*KINDS, "hold", "in_sync")
    yield "| store | " + " | ".join(n.replace("_", " ") for n in names) + " |"
    yield "|---" + "|--:" * len(names) + "|"
    for store in plan.stores:
        if store.error is not None:
            yield f"| {_word(store.store)} | " + " | ".join("?" for _ in names) + " |"
        else:
            yield f"| {_word(store.store)} | {_row(store.summary, names)} |"
    if len(plan.stores) > 1:
        yield f"| **all** | {_row(plan.summary, names)} |"


def _row(summary: Summary, names: tuple[str, ...]) -> str:
    return " | ".join(f"{getattr(summary, n):,}" for n in names)


def _word(name: str) -> str:
    """A store or shop name with every character that such a name can't have replaced by `?`."""
    return re.sub(r"[^A-Za-z0-9_.-]", "?", name)


def _store(store: StorePlan, actions: Sequence[KindGroup], holds: Sequence[HeldGroup], limit: int) -> Iterator[str]:
    title = f"<b>{_word(store.store)}</b> ({_word(store.shop)})"
    if store.error is not None:
        yield f"**{_word(store.store)}** ({_word(store.shop)}) could not be planned: {code(store.error)}"
        yield ""
        if store.error_hint:
            yield f"hint: {code(store.error_hint)}"
        return
    if store.wave_error:
        hint = f", hint: {code(store.wave_hint)}" if store.wave_hint else ""
        yield f"**{_word(store.store)}**: {WAVE_UNKNOWN}: {code(store.wave_error)}{hint}"
        yield ""
    if not (store.actions or store.holds or store.accepted):
        yield f"**{_word(store.store)}** ({_word(store.shop)}): nothing to do, {store.summary.in_sync:,} in sync"
        yield from _unaffected(store, limit)
        return
    opened = " open" if len(store.actions) <= OPEN_UP_TO else ""
    what = f"{count_text(len(store.actions), 'action')}, {count_text(len(store.holds), 'hold')}"
    yield f"<details{opened}><summary>{title}: {what}</summary>"
    yield ""
    for kind in actions:
        yield from _kind(kind, limit)
    for reason in holds:
        yield from _held(reason, limit)
    yield from _accepted(store.accepted, limit)
    yield from _unaffected(store, limit)
    if store.actions:
        yield f"Forecast: {forecast_of(store.forecast)}"
        yield ""
    yield "</details>"


def _unaffected(store: StorePlan, limit: int) -> Iterator[str]:
    if store.unaffected:
        yield ""
        yield from (f"- {code(each.answer)}" for each in store.unaffected[:limit])
        if len(store.unaffected) > limit:
            yield f"- … and {len(store.unaffected) - limit:,} more; `reconciler plan --output json` has them"
        yield ""


def _accepted(accepted: Sequence[AcceptedDrift], limit: int) -> Iterator[str]:
    if not accepted:
        return
    yield f"#### drift that is accepted for now: {count_text(accepted_users(accepted), 'user')}"
    yield ""
    for each in accepted[:limit]:
        yield f"- {code(each.clerk_user_id)} {code(accepted_words(each))}, {code(until_words(each))}"
    if len(accepted) > limit:
        yield f"- … and {len(accepted) - limit:,} more; `reconciler plan --output json` has them"
    yield ""


def _kind(group: KindGroup, limit: int) -> Iterator[str]:
    yield f"#### {group.kind}: {group.text}"
    yield ""
    for action in islice(group.actions, limit):
        yield from _action(action)
    if group.count > limit:
        yield f"- … and {group.count - limit:,} more; `reconciler plan --output json` has them"
    yield ""


def _action(action: Action) -> Iterator[str]:
    heading = [code(action.clerk_user_id), customer_text(action.customer_id)]
    heading += [code(text) for text in (action.name, action.email) if text and action.customer_id]
    heading += [
        code(words) if action.former_user and action.former_user in words else words for words in taken_words(action)
    ]
    why = common_why(action)
    if action.how:
        heading.append(how_text(action))
    if why:
        heading.append(f"({why})")
    yield "- " + " ".join(h for h in heading if h)
    for change in action.changes:
        yield f"  - {_change(change, with_why=not why)}"


def _change(change: Change, *, with_why: bool) -> str:
    before, after = change_parts(change)
    if change.field == "tags":
        parts = [f"added {code(after)}" if after != "–" else "", f"removed {code(before)}" if before != "–" else ""]
        words = ", ".join(p for p in parts if p)
    elif change.before is None:
        words = code(after)
    else:
        words = f"{code(before)} → {code(after)}"
    return f"{code(field_text(change))}: {words}" + (f" ({change.why})" if with_why else "")


def _held(group: HeldGroup, limit: int) -> Iterator[str]:
    yield f"#### held, {group.reason}: {group.count:,}"
    yield ""
    command = code(docs_command(group.reason))
    yield " ".join(filter(None, (f"{command}: {WHO_WORDS[group.who_acts]}.", group.meaning, group.next_step)))
    yield ""
    if group.changes:
        yield from _withheld(group, limit)
        return
    if group.message is not None:
        yield f"{code(group.message)}: {', '.join(code(h.clerk_user_id) for h in islice(group.holds, limit))}"
    else:
        for hold in islice(group.holds, limit):
            yield f"- {code(hold.clerk_user_id)}: {code(hold.message)}"
    if group.count > limit:
        yield ""
        yield f"… and {group.count - limit:,} more"
    yield ""


def _withheld(group: HeldGroup, limit: int) -> Iterator[str]:
    """The withheld actions; a change that many users share comes first, and once."""
    if group.message is not None:
        yield code(group.message)
        yield ""
    for same in group.changes[:limit]:
        if same.count == 1:
            yield from _action(same.action)
            continue
        users = ", ".join(code(user) for user in same.users) + (", …" if same.count > len(same.users) else "")
        how = f", {how_text(same.action)}" if same.action.how else ""
        yield f"- **{same.action.kind}, {same.count:,} alike{how}**: {users}"
        for change in same.action.changes:
            yield f"  - {_change(change, with_why=True)}"
    rest = group.uncounted + sum(same.count for same in group.changes[limit:])
    if rest:
        yield f"- … and {rest:,} more; `reconciler plan --output json` has them"
    yield ""
