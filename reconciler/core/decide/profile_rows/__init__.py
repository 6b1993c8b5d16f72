"""Decisions about profile rows that follow Clerk."""
