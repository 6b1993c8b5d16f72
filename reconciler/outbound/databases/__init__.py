"""Connections to databases: their URLs, refused logins, failovers and replaced files."""
