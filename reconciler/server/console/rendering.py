"""Renders the console's templates: nothing external, one script of our own, and every value escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reconciler.core.model.ids import StoreName
from reconciler.core.model.values import tag_changes
from reconciler.core.report.answer import ago_text
from reconciler.core.report.irreversible import is_irreversible, is_undo
from reconciler.core.report.under_way import under_way_of
from reconciler.ports import Clock
from reconciler.server.access import Verdict
from reconciler.server.acting import is_foreign
from reconciler.server.console import words

HERE: Final = Path(__file__).parent


def style() -> Response:
    """The style of all pages."""
    return _resource("console.css", "text/css")


def script() -> Response:
    """The script of the overview."""
    return _resource("console.js", "text/javascript")


def _resource(name: str, media_type: str) -> Response:
    text = (HERE / "static" / name).read_text(encoding="utf-8")
    return Response(text, media_type=media_type, headers={"cache-control": "public, max-age=300"})


class Renderer:
    """Renders a template with the time, the path and the words of reasons."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._templates = _environment()

    def page(self, template: str, request: Request, *, status: int = 200, **values: Any) -> Response:
        """Return the page. `verdict` says what the caller may do; without one the page offers nothing."""
        values = {"verdict": "needs token", **values}
        html = self._templates.get_template(template).render(
            now=self._clock.now(), path=request.url.path, explain=words.explain, **values
        )
        return HTMLResponse(html, status)

    def no_store(self, request: Request, verdict: Verdict, name: StoreName) -> Response:
        """Return the page of a store that is not in stores.yaml."""
        return self.page("no_store.html", request, status=404, verdict=verdict, store=name)

    def denied(self, request: Request, verdict: Verdict) -> Response:
        """Return the page of an act that this caller may not do, or that a page of another site asked for."""
        mode = "foreign" if is_foreign(request) else "role" if verdict == "viewer" else "closed"
        return self.page("gate.html", request, status=403, mode=mode)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ago": ago_text,
        "stamp": words.stamp,
        "percent": words.percent,
        "shown": words.shown,
        "span": words.span,
        "admin_url": words.admin_url,
        "segment": lambda text: quote(text, safe=""),
        "field": words.field_name,
        "under_way": under_way_of,
        "irreversible": is_irreversible,
        "undo": is_undo,
    }
    made.globals["tag_changes"] = tag_changes
    return made
