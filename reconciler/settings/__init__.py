"""Reads both settings files and the environment; returns checked values, or errors with file, line and key."""

from reconciler.settings.load import Loaded, environment, load, paths, store_names
from reconciler.settings.models import Settings, StoreSettings
from reconciler.settings.schemas import json_schemas
from reconciler.settings.variables import FILE_MAX, files_named

__all__ = [
    "FILE_MAX", "Loaded", "Settings", "StoreSettings", "environment", "files_named", "json_schemas", "load", "paths",
    "store_names",
]  # fmt: skip
