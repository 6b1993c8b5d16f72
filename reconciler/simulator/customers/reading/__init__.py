"""Reads of customers: lookups, search, and the fields of a view."""
