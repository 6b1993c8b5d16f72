"""`reconciler docs`: prints the reference that the package carries: reasons, errors, pages and their sections."""

from __future__ import annotations

import difflib
import re
import shutil
from importlib.resources import as_file, files
from itertools import pairwise, takewhile
from pathlib import Path

import click
from rich.markdown import Markdown

from reconciler.cli.context import Context
from reconciler.core.model.frozen import frozen
from reconciler.errors import UsageError

PACKAGE = files("reconciler")
REFERENCE, TASKS = PACKAGE / "reference", PACKAGE / "reference" / "tasks"
REASONS = "errors"
# Where a heading is on several pages, the page named first here is meant. The task pages follow.
PAGES = (
    REASONS, "configuration", "cli", "http", "metrics", "log-events", "rules", "concepts", "deploy", "operations",
    "tutorial",
)  # fmt: skip
# A line of these pages' tables is found by the names in its first cell: a metric, a log event, a word, a key.
PAGES_OF_ROWS = ("metrics", "log-events", "concepts", "configuration")
COMMENT = re.compile(r"^<!--.*?-->\n?", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"(#+) (.+)")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
SENTENCE = re.compile(r"(?:`[^`]*`|[^`])+?\.(?=\s|$)")


@frozen
class Section:
    """A heading with all that is below it, up to the next heading of the same level or above."""

    title: str
    level: int
    text: str

    @property
    def gist(self) -> str:
        """The first sentence, on one line and without marks."""
        paragraph = " ".join(self.text.partition("\n")[2].strip().partition("\n\n")[0].split())
        found = SENTENCE.match(paragraph)
        return re.sub(r"[`*]", "", LINK.sub(r"\1", found[0] if found else paragraph))


def print_docs(context: Context, *, name: str | None, output: str, samples: Path | None) -> None:
    if samples is not None:
        _write_samples(samples)
    elif name is None:
        _print_list(context)
    elif output == "markdown":
        click.echo(find(name))
    else:
        context.out.print(Markdown(find(name), hyperlinks=False))


def find(name: str) -> str:
    """The Markdown of a page, of the section with this heading, or of the lines of tables with this name.

    UsageError, with close matches, if there is none.
    """
    titles: dict[str, str] = {}
    for page in pages():
        text = _page(page)
        if _plain(name.removesuffix(".md").rpartition("/")[2]) == page:
            return text
        titles.setdefault(page, page)
        for section in sections(text):
            if _plain(section.title) == _plain(name):
                return section.text
            titles.setdefault(_plain(section.title), section.title)
    rows = _rows()
    if found := rows.get(_plain(name)):
        return "\n\n".join(found)
    titles = {**{row: row for row in rows}, **titles}
    near = [f"'{titles[match]}'" for match in difflib.get_close_matches(_plain(name), titles, n=3)]
    raise UsageError(
        f"the reference has no section '{name}'" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        hint="`reconciler docs` lists the reasons, the errors and the pages",
    )


def sections(text: str) -> list[Section]:
    """The sections of a page in order, the smaller ones within the larger ones included."""
    lines = text.splitlines()
    found: list[tuple[int, int, str]] = []
    fenced = False
    for at, line in enumerate(lines):
        fenced ^= line.lstrip().startswith("```")
        if not fenced and (heading := HEADING.fullmatch(line)):
            found.append((at, len(heading[1]), heading[2]))
    ends = [
        next((at for at, other, _ in found[n + 1 :] if other <= level), len(lines))
        for n, (_, level, _) in enumerate(found)
    ]
    return [
        Section(title, level, "\n".join(lines[start:end]).strip())
        for (start, level, title), end in zip(found, ends, strict=True)
    ]


def _rows() -> dict[str, list[str]]:
    """By each name in the first cell of a line of a table: the line, below the heading of its section and of the table."""
    found: dict[str, list[str]] = {}
    for page in PAGES_OF_ROWS:
        for section in sections(_page(page)):
            own = re.split(r"\n#+ ", section.text)[0].splitlines()  # without the smaller sections in it
            tables = [at for at, line in enumerate(own) if line.startswith("|---")]
            for at in tables:
                for row in takewhile(lambda line: line.startswith("|"), own[at + 1 :]):
                    shown = "\n".join([own[0], "", *own[at - 1 : at + 1], row])
                    for name in row.split("|")[1].split(","):
                        found.setdefault(_plain(name.strip()), []).append(shown)
    return found


def pages() -> tuple[str, ...]:
    """The names of all pages: the reference, then the tasks."""
    return (*PAGES, *sorted(path.name.removesuffix(".md") for path in TASKS.iterdir()))


def _page(name: str) -> str:
    folder = REFERENCE if name in PAGES else TASKS
    text = folder.joinpath(f"{name}.md").read_text(encoding="utf-8")
    return re.sub(r"\n{3,}", "\n\n", COMMENT.sub("", text)).strip()


def _plain(title: str) -> str:
    """Lower case, with hyphens, without marks: as in the address of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def _print_list(context: Context) -> None:
    listed = sections(_page(REASONS))
    groups = [n for n, section in enumerate(listed) if section.level <= 2]  # noqa: PLR2004
    for first, last in pairwise([*groups, len(listed)]):
        entries = [section for section in listed[first + 1 : last] if section.level == 3]  # noqa: PLR2004
        if entries:
            _print_group(context, listed[first].title, {entry.title: entry.gist for entry in entries})
    _print_group(context, "Pages", {page: sections(_page(page))[0].title for page in pages()})


def _print_group(context: Context, title: str, entries: dict[str, str]) -> None:
    width = max(map(len, entries))
    context.out.print(title, style="bold", markup=False)
    for name, text in entries.items():
        context.out.print(f"  {name:<{width}}  {text}", markup=False, soft_wrap=True)
    context.out.print()


def _write_samples(folder: Path) -> None:
    if folder.exists():
        raise UsageError(f"{folder} exists, and nothing is overwritten", hint="name a new folder")
    with as_file(PACKAGE / "samples") as samples:
        shutil.copytree(samples, folder)
    for path in sorted(folder.rglob("*.yaml")):
        click.echo(f"wrote {path}", err=True)
