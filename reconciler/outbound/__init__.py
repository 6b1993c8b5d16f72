"""Connections to others: HTTP with bounds on time, size and addresses; URLs; logins to databases."""
