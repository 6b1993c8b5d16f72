"""Metafields and their definitions: types, values, limits and mutations."""
