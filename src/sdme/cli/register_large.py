"""``sdme register`` of images that are registered by tiles."""

from collections.abc import Mapping
from pathlib import Path

from sdme.cli.output import Output
from sdme.config import Interpolation, RegisterSettings, Tiles, ViewSettings
from sdme.errors import InputError

_EXIT_FAILED = 3


def by_tiles(tiles: Tiles, fixed: Path, moving: Path) -> bool:
    """Whether tiles are asked for, or one of the images is so large that they are needed."""
    if tiles == "on":
        return True
    limit = RegisterSettings().tiles.beyond
    # bytes are cheap to ask for, and most images are small
    sizes = [path.stat().st_size if path.is_file() else 0 for path in (fixed, moving)]
    if max(sizes) < limit // 100:
        return False
    from sdme.large import is_large

    return is_large(fixed) or is_large(moving)


def register_large(
    fixed: Path,
    moving: Path,
    folder: Path,
    out: Output,
    *,
    model: str | None,
    settings: RegisterSettings,
    views: tuple[ViewSettings, ViewSettings],
    device: str,
    interpolation: Interpolation | None,
    not_taken: Mapping[str, object],
) -> int:
    """Register two images by tiles; returns the exit code."""
    from sdme.io.folder import check_apart
    from sdme.large import JOURNAL, OWNED
    from sdme.large import register_large as run
    from sdme.model.weights import DEFAULT_MODEL

    wrong = [name for name, value in not_taken.items() if value is not None]
    if wrong:
        raise InputError(f"{wrong[0]} cannot be used with tiles; leave it out, or give --tiles off")
    check_apart(folder, (*OWNED, JOURNAL), [fixed, moving])
    with out.progress() as progress:
        result = run(
            fixed,
            moving,
            folder,
            model=model or DEFAULT_MODEL,
            settings=settings,
            views=views,
            device=device,
            interpolation=interpolation,
            progress=progress,
        )
    out.result(result.to_dict() | {"files": {"folder": str(folder)}})
    if not result.ok:
        out.error(f"could not align: {result.message} (see {folder / 'report.html'})")
        return _EXIT_FAILED
    if result.status == "uncertain":
        out.warning(f"uncertain: {result.message}; look at {folder / 'report.html'}")
    resumed = f", {result.resumed} steps were done before" if result.resumed else ""
    out.line(f"{result.status}: {result.message}, {result.seconds:.0f} s{resumed}")
    out.line(f"saved in {folder}; open {folder / 'report.html'}")
    return 0
