"""Tables for the page of an evaluation, taken from its Markdown report, so that both agree."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"^(|[-–∞]|[<>~±+-]?(\d|inf\b|nan\b).*)$")
_CELL_END = re.compile(r"(?<!\\)\|")
_LEADING = "interval"


@dataclass(frozen=True)
class Table:
    """A table as it is to be shown; ``note`` says below its title how to read it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    @property
    def is_number(self) -> list[bool]:
        """Which columns hold numbers only."""
        return [
            all(_NUMBER.match(row[i].strip()) for row in self.rows) for i in range(len(self.header))
        ]


def tables_of_report(markdown: str) -> list[Table]:
    """The tables of a report, with what is said between each and the heading before it.

    Those with confidence intervals come first, the others in their order. Lists are left out.
    """
    tables: list[Table] = []
    title, notes = "", []
    for block in re.split(r"\n{2,}", markdown.strip()):
        if block.startswith("#"):
            title = _plain(block.lstrip("#"))
            notes = []
        elif block.startswith("|"):
            header, _, *rows = (_cells(line) for line in block.splitlines())
            tables.append(Table(title, header, rows, " ".join(notes)))
            notes = []
        elif not block.startswith("- "):
            notes.append(_plain(block))
    return sorted(tables, key=lambda table: _LEADING not in table.title)


def _cells(line: str) -> list[str]:
    return [_plain(cell.replace("\\|", "|")) for cell in _CELL_END.split(line.strip())[1:-1]]


def _plain(text: str) -> str:
    """Without line breaks, and without marks for bold and code."""
    return " ".join(text.replace("**", "").replace("`", "").split())
