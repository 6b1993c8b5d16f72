"""Faces of what the commands found: text for people, JSON for programs, Markdown and a page for reviews."""

from reconciler.cli.render.html import plan_html
from reconciler.cli.render.json import mappings_json, plan_json, results_json, status_json
from reconciler.cli.render.markdown import plan_markdown
from reconciler.cli.render.tables import mappings_text, replicas_text, results_text, status_text
from reconciler.cli.render.text import plan_text

__all__ = [
    "mappings_json",
    "mappings_text",
    "plan_html",
    "plan_json",
    "plan_markdown",
    "plan_text",
    "replicas_text",
    "results_json",
    "results_text",
    "status_json",
    "status_text",
]
