"""The files of simulated shops: staged uploads and the results of bulk operations, on disk and never in memory.

`storage.py` puts HTTP in front of them.
"""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Final

RESULTS: Final = "/bulk-results"
UPLOADS: Final = "/staged-uploads"
"""Where they are served, before the shop's domain."""


class Depot:
    """A folder that is made when first needed, and goes with its owner if it was not named."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def place(self, name: str) -> Path:
        """Where a file of this name lies; its folder is there."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="simulated-shopify-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
