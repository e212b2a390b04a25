"""Filling a folder so that its files appear together or not at all."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdme.errors import InputError


@contextlib.contextmanager
def filling(folder: Path, owned: Sequence[str]) -> Iterator[Path]:
    """Yield an empty folder whose files move into ``folder`` when the block succeeds.

    Files of an earlier run, named in ``owned``, are removed then; all others are left alone.
    When the block fails or is interrupted, ``folder`` is as it was before, and is not created.
    The last of ``owned`` arrives last: where it lies, the set is whole.

    Raises:
        InputError: ``folder`` is a file, cannot be created or written to, or the disk is full.
    """
    created: list[Path] = []
    finished = False
    try:
        created += [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as name:
            yield Path(name)
            _move(Path(name), folder, owned)
            finished = True
    except OSError as error:
        raise InputError(
            f"cannot write into {folder}: {error.strerror or error}; choose another place"
        ) from None
    finally:
        if not finished:
            for path in created:
                with contextlib.suppress(OSError):
                    path.rmdir()


def check_writable(folder: Path) -> None:
    """Find out before long work whether :func:`filling` can succeed; leaves nothing behind."""
    with contextlib.suppress(_Unused), filling(folder, ()):
        raise _Unused


def check_apart(folder: Path, owned: Sequence[str], sources: Sequence[Path]) -> None:
    """Refuse sources that :func:`filling` would remove from ``folder``.

    Raises:
        InputError: one of the sources is a file in ``folder`` under a name in ``owned``.
    """
    for source in sources:
        for place in (folder / name for name in owned):
            if place.exists() and source.samefile(place):
                raise InputError(
                    f"{source} would be replaced by the results in {folder}; "
                    "choose another output folder"
                )


class _Unused(Exception):  # noqa: N818 - it never leaves this module
    """Takes the failing way out of a block on purpose."""


def _move(source: Path, folder: Path, owned: Sequence[str]) -> None:
    for name in reversed(owned):
        (folder / name).unlink(missing_ok=True)
    order = {name: place for place, name in enumerate(owned)}
    for path in sorted(source.iterdir(), key=lambda path: order.get(path.name, -1)):
        path.replace(folder / path.name)
