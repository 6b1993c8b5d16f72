"""A console that remembers: what a person, or a file, would get."""

import io
from collections.abc import Callable

from rich.console import Console


def shown(draw: Callable[[Console], None], *, width: int = 80, terminal: bool = False, encoding: str = "utf-8") -> str:
    """What `draw` prints, in a terminal or not, of this width and encoding."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(
        file=file,
        width=width,
        highlight=False,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
    )
    draw(console)
    return raw.getvalue().decode(encoding)
