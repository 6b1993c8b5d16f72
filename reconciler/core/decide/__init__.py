"""Decisions about one user in one store: an action, holds, or nothing; and what the state then says."""
