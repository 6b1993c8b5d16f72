"""Addresses of customers: their inputs and their mutations."""
