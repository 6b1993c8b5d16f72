"""Renders a plan as one self-contained HTML page, to read, search, print or attach to a ticket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from reconciler.cli.approval import APPROVE
from reconciler.cli.render import parts as render_parts
from reconciler.cli.render.accepted import accepted_words, until_words
from reconciler.cli.render.plain import clean, count_text, customer_text, time_text
from reconciler.core.plan.plan import Plan

if TYPE_CHECKING:
    from jinja2 import Template

OPEN_UP_TO = 50  # longer lists start collapsed; printing shows them anyway
SHOWN = 2000  # rows of one kind or reason in one store: browsers get slow above about ten thousand rows


def plan_html(plan: Plan, *, approve: str = APPROVE, shown: int = SHOWN) -> Iterator[str]:
    """The page in parts. Every value is escaped, and the CSP forbids loads and scripts. `approve`: see `print_plan`.

    At most `shown` rows of one kind or reason in one store are on the page.
    """
    page = _template().stream(
        plan=plan,
        parts=render_parts,
        totals=render_parts.totals_of(plan.summary, plan.stores),
        waiting=render_parts.guarded_text(plan.stores),
        approve=approve,
        open_up_to=OPEN_UP_TO,
        shown=shown,
    )
    page.enable_buffering()
    return iter(page)


def breakable(text: str) -> Markup:
    """The text with line-break opportunities after its dots."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=\.)", text))


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  text and JSON don't need it

    environment = Environment(
        loader=PackageLoader("reconciler.cli"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clean=clean, time=time_text, customer=customer_text, breakable=breakable, head=islice)
    environment.globals.update(
        count_text=count_text,
        accepted_words=accepted_words,
        until_words=until_words,
        accepted_users=render_parts.accepted_users,
    )
    return environment.get_template("plan.html")
