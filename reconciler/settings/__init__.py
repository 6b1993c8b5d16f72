"""The only reader of YAML and of the environment: two files in, checked values out, every error with its place."""

from reconciler.settings.load import Loaded, environment, load, paths
from reconciler.settings.models import Settings, StoreSettings
from reconciler.settings.schemas import json_schemas

__all__ = ["Loaded", "Settings", "StoreSettings", "environment", "json_schemas", "load", "paths"]
