"""Prints lines that wrap between pieces, never inside one, so that values can be copied."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from reconciler.cli.render.plain import sentence

Piece = tuple[str, str]  # words, style

ASCII = {"→": "->", "·": "-", "…": "...", "–": "-", "✓": "ok", "✗": "no", "│": "|", "─": "-"}


def words_of(text: str, style: str = "") -> list[Piece]:
    """The words of a text, between which a line may wrap."""
    return [(word, style) for word in text.split(" ")]


class LinePrinter:
    """Prints lines to one console, in characters that it can show."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = max(console.width, 20)

    def line(self, text: Text) -> None:
        """Print one line without wrapping."""
        self.console.print(text, soft_wrap=True)

    def blank(self) -> None:
        self.line(Text())

    def put(self, *pieces: Piece, indent: int = 0) -> None:
        """Print one line without wrapping."""
        text = Text(" " * indent)
        for words, style in pieces:
            text.append(self._printable(words), style)
        self.line(text)

    def flow(self, pieces: Iterable[Piece], *, indent: int = 0, hang: int = 0, between: str = " ") -> None:
        """Print pieces in a row and wrap between them. Continuation lines are indented by `hang` more."""
        row = ((self._printable(words), style) for words, style in pieces)
        gap = self._printable(between)
        line, filled, is_first = Text(" " * indent), indent, True
        coming = next(row, None)
        while coming is not None:
            (words, style), coming = coming, next(row, None)
            trailing = 0 if coming is None else cell_len(gap.rstrip())
            if not is_first and filled + cell_len(gap) + cell_len(words) + trailing > self.width:
                line.append(gap.rstrip(), "dim")
                self.line(line)
                line, filled = Text(" " * (indent + hang)), indent + hang
                words = words.lstrip()  # no blanks at the start of a line
            elif not is_first:
                line.append(gap, "dim")
                filled += cell_len(gap)
            line.append(words, style)
            filled += cell_len(words)
            is_first = False
        if not is_first:
            self.line(line)

    def failure(self, what: str, error: str, hint: str) -> None:
        """Print what of a store is not known, why, and what to do next, if that is known."""
        self.prose(f"{what}: {sentence(error)}", "bold red", indent=2, hang=2)
        if hint:
            self.prose(f"hint: {sentence(hint)}", indent=2, hang=2)

    def prose(self, words: str, style: str = "", *, indent: int = 0, hang: int = 0) -> None:
        """Print a sentence and wrap it between words."""
        self.flow(words_of(words, style), indent=indent, hang=hang)

    def _printable(self, words: str) -> str:
        if not self.console.options.ascii_only:
            return words
        for sign, plain in ASCII.items():
            words = words.replace(sign, plain)
        return words


class LineRecorder(LinePrinter):
    """Keeps the lines for one console, so that those of several stores can be compared before they are printed."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.lines: list[Text] = []

    def line(self, text: Text) -> None:
        self.lines.append(text)
