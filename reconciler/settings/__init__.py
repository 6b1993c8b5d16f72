"""The only reader of YAML and of the environment: two files in, checked values out, every error with its place."""

from reconciler.settings.load import Loaded, environment, json_schemas, load
from reconciler.settings.models import Settings, StoreSettings

__all__ = ["Loaded", "Settings", "StoreSettings", "environment", "json_schemas", "load"]
