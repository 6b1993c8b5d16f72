"""Both files in a folder of the test's own, and what loading them says."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import ConfigError
from reconciler.settings import Loaded, load

CONFIG = "version: 1\n"
STORES = """\
version: 1
stores:
  - name: one
    shop: one.myshopify.com
"""
SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"  # of 24 bytes


class Files:
    """config.yaml and stores.yaml, written and loaded."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config.yaml"
        self.stores = folder / "stores.yaml"

    def load(self, config: str = CONFIG, stores: str = STORES, **env: str) -> Loaded:
        self.config.write_text(config, encoding="utf-8")
        self.stores.write_text(stores, encoding="utf-8")
        return load(self.config, self.stores, env)

    def refused(self, config: str = CONFIG, stores: str = STORES, **env: str) -> list[str]:
        """The lines of the error, each without the folder."""
        with pytest.raises(ConfigError) as caught:
            self.load(config, stores, **env)
        assert caught.value.hint
        return [line.removeprefix(f"{self.config.parent}/") for line in caught.value.message.splitlines()]

    def store(self, lines: str, **env: str) -> Loaded:
        """One store with these further lines."""
        return self.load(stores=with_store(lines), **env)

    def store_refused(self, lines: str, **env: str) -> list[str]:
        return self.refused(stores=with_store(lines), **env)


def with_store(lines: str) -> str:
    return STORES + "".join(f"    {line}\n" for line in lines.strip("\n").splitlines())
