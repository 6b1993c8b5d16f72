"""Observe, decide, execute and record: one request, a plan, or a resync. Reaches the outside only through ports."""
