"""Tables for the page of an evaluation, taken from its Markdown report, so that both agree."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_NUMBER = re.compile(r"^(|[-–∞]|[<>~±+-]?(\d|inf\b|nan\b).*)$")
_CELL_END = re.compile(r"(?<!\\)\|")
_LEADING, _SET = "interval", "set"


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
    """The tables of a report, each with the words of its section; lists are left out.

    Words of a section without a table go with the next table. Tables with confidence intervals come
    first, the others in their order. A table of several sets becomes one a set.
    """
    tables: list[Table] = []
    title, waiting, is_told = "", "", False
    for block in re.split(r"\n{2,}", markdown.strip()):
        if block.startswith("#"):
            title, is_told = _plain(block.lstrip("#")), False
        elif block.startswith("|"):
            header, _, *rows = (_cells(line) for line in block.splitlines())
            tables.append(Table(title, header, rows, waiting))
            waiting, is_told = "", True
        elif is_told:
            tables[-1] = replace(tables[-1], note=f"{tables[-1].note} {_plain(block)}".strip())
        elif not block.startswith("- "):
            waiting = f"{waiting} {_plain(block)}".strip()
    each = [part for table in tables for part in _by_set(table)]
    return sorted(each, key=lambda table: _LEADING not in table.title)


def _by_set(table: Table) -> list[Table]:
    """A table for each set that is named in the first column, if that is what it holds."""
    if table.header[0] != _SET or not table.rows:
        return [table]
    sets = dict.fromkeys(row[0] for row in table.rows)
    return [
        replace(
            table,
            title=f"{table.title}: {name}",
            header=table.header[1:],
            rows=[row[1:] for row in table.rows if row[0] == name],
        )
        for name in sets
    ]


def _cells(line: str) -> list[str]:
    return [_plain(cell.replace("\\|", "|")) for cell in _CELL_END.split(line.strip())[1:-1]]


def _plain(text: str) -> str:
    """Without line breaks, and without marks for bold and code."""
    return " ".join(text.replace("**", "").replace("`", "").split())
