"""A plan as one page that needs nothing else: to read, to search, to print, to attach to a ticket."""

from __future__ import annotations

import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from reconciler.cli import render_parts
from reconciler.cli.plain import clean, counted, customer_text, time_text
from reconciler.core.plan import Plan

OPEN_UP_TO = 50  # longer lists start folded; print shows them all the same


def plan_html(plan: Plan) -> str:
    """The page. Every value is escaped, and its policy lets it load and run nothing."""
    return _template().render(
        plan=plan,
        parts=render_parts,
        totals=render_parts.totals_of(plan.summary, plan.stores),
        waiting=render_parts.guarded_holds(plan.stores),
        open_up_to=OPEN_UP_TO,
    )


def breakable(text: str) -> Markup:
    """May be broken after its dots."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=\.)", text))


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("reconciler.cli"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clean=clean, time=time_text, customer=customer_text, breakable=breakable)
    environment.globals.update(counted=counted)
    return environment.get_template("plan.html")
