"""What a command prints, and where: results on stdout, the rest on stderr."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

JsonFlag = Annotated[bool, Parameter(name="--json", negative="")]
QuietFlag = Annotated[bool, Parameter(negative="")]


@dataclass(frozen=True)
class Output:
    """Speaks to a person, or to a machine (``as_json``), or only in case of errors (``quiet``)."""

    as_json: bool = False
    quiet: bool = False

    def line(self, text: str) -> None:
        """A line for a person."""
        if not (self.quiet or self.as_json):
            print(text)

    def warning(self, text: str) -> None:
        """Something a person should look at, although the command succeeded."""
        if not self.quiet:
            print("warning:", text, file=sys.stderr)

    def error(self, text: str) -> None:
        """Why the command did not succeed."""
        print("error:", " ".join(text.splitlines()), file=sys.stderr)

    def result(self, content: dict[str, Any] | list[Any]) -> None:
        """The answer for a machine."""
        if self.as_json:
            print(json.dumps(content, indent=2, allow_nan=False))

    def counter(self, name: str) -> Callable[[int, int], None]:
        """A function that is told how many of how many are done; it prints every tenth."""

        def report(done: int, total: int) -> None:
            if total and (done * 10) // total > ((done - 1) * 10) // total:
                print(f"{name}: {done} of {total}", file=sys.stderr, flush=True)

        return (lambda _done, _total: None) if self.quiet or self.as_json else report

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """Yield a function that is told each stage as it begins.

        On a terminal the stage is shown beside a spinner, elsewhere it is a plain line.
        """
        if self.quiet or self.as_json:
            yield lambda _stage: None
        elif not sys.stderr.isatty():
            yield lambda stage: print(f"{stage} ...", file=sys.stderr, flush=True)
        else:
            from rich.console import Console

            with Console(stderr=True).status("starting") as status:
                yield status.update
