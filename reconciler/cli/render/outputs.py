"""The renderers of plans, results, status and mappings, in one namespace."""

from reconciler.cli.render.html import plan_html
from reconciler.cli.render.json import mappings_json, plan_json, results_json, status_json
from reconciler.cli.render.markdown import plan_markdown
from reconciler.cli.render.tables import print_mappings, print_replicas, print_results, print_status
from reconciler.cli.render.text import print_plan

__all__ = [
    "mappings_json",
    "plan_html",
    "plan_json",
    "plan_markdown",
    "print_mappings",
    "print_plan",
    "print_replicas",
    "print_results",
    "print_status",
    "results_json",
    "status_json",
]
