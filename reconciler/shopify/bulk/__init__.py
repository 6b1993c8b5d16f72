"""Bulk operations of one shop."""
