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
"""The URL path of the files, before the shop's domain."""


class Depot:
    """A folder that is created on first use, and removed with its owner unless the caller named it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def place(self, name: str) -> Path:
        """The path of the file with this name; creates its folder."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="simulated-shopify-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
