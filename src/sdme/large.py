"""Registration of images that are too large to be read whole, or whose full resolution matters.

Reduced copies give a coarse transform (:func:`sdme.register`, with search), tiles of the originals
make it better (:mod:`sdme.tiling`), and the moving image is warped block by block. What is found is
kept in a journal beside the results, so that a run that was ended goes on where it was.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sdme.config import Interpolation, RegisterSettings, ViewSettings
from sdme.errors import InputError
from sdme.fast_stages import longest_side
from sdme.frames import Matrix, Pair
from sdme.geometry.fit import nearest_of_kind
from sdme.geometry.sampling import resize_matrix
from sdme.io.folder import filling
from sdme.io.geo import read_header
from sdme.io.header import file_format
from sdme.io.raster import Raster
from sdme.io.read import check_content, read_raster
from sdme.large_files import Journal, LargeSource, OnDisk, reduced, warp_to_file
from sdme.model.weights import DEFAULT_MODEL
from sdme.register import Model, name_of, network_of, register, run_stages
from sdme.result import Reason, Registration, Status
from sdme.stages import Clock
from sdme.tiling import Answer, Held, Tile, TileAnswer, Tiled, refine_by_tiles, settled_view
from sdme.transform import Transform

JOURNAL = "unfinished.jsonl"
OWNED = ("overlay.png", "checkerboard.png", "report.html", "aligned.tif", "transform.json",
         "result.json")  # fmt: skip
_ENOUGH, _SOME = 0.5, 0.3  # of the tiles that were tried, for aligned and for uncertain
_FEWEST = 3  # of them, for either
Progress = Callable[[str], None]


@dataclass(frozen=True)
class LargeRegistration:
    """Result of :func:`register_large`, in pixels of the originals.

    ``transform`` is ``None`` exactly when ``status`` is ``failed``; ``coarse`` is the one that the
    reduced copies gave. ``tiles`` are those of the last level. ``seconds`` are of this run alone,
    and ``resumed`` says how many tiles an earlier one had done.
    """

    status: Status
    reason: Reason
    message: str
    transform: Transform | None
    coarse: Transform | None
    tiles: list[TileAnswer] = field(repr=False)
    model: str = ""
    seconds: float = 0.0
    resumed: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is a transform that may be used."""
        return self.status is not Status.FAILED

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for JSON."""
        return {
            "status": self.status.value,
            "reason": self.reason.value,
            "message": self.message,
            "transform": None if self.transform is None else self.transform.to_dict(),
            "coarse": None if self.coarse is None else self.coarse.to_dict(),
            "tiles": [tile.to_dict() for tile in self.tiles],
            "model": self.model,
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
        }


def is_large(path: Path, settings: RegisterSettings | None = None) -> bool:
    """Whether an image has so many pixels that it is registered by tiles; only TIFFs can be."""
    settings = settings or RegisterSettings()
    if not _is_tiff(path):
        return False
    try:
        width, height = read_header(path).size
    except InputError:  # whoever reads it says what is wrong
        return False
    return width * height > settings.tiles.beyond


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file_format(file) == "tiff"
    except OSError:
        return False


def register_large(
    fixed: Path,
    moving: Path,
    folder: Path,
    *,
    model: Model = DEFAULT_MODEL,
    settings: RegisterSettings | None = None,
    views: tuple[ViewSettings, ViewSettings] | None = None,
    device: str = "auto",
    interpolation: Interpolation | None = None,
    progress: Progress | None = None,
) -> LargeRegistration:
    """Register two files by tiles and fill ``folder``.

    ``transform.json``; ``aligned.tif``, the moving image on the fixed grid; ``result.json`` with
    every tile of the last level; ``report.html``, ``overlay.png`` and ``checkerboard.png`` of the
    reduced copies. They appear together or not at all. Until then ``unfinished.jsonl`` keeps what
    was found: the same call goes on with it. TIFFs are read by windows; other files are held in
    memory. ``views`` say how the network sees the images, ``progress`` is told what is being done.

    Raises:
        InputError: an image, the model or the device cannot be used, rasterio is missing, the
            folder cannot be written to, or the disk is full.
    """
    settings, began = settings or RegisterSettings(), time.perf_counter()
    say = progress or (lambda _text: None)
    views = views or (ViewSettings(), ViewSettings())
    _make_folder(folder)
    about = _about((fixed, moving), model, settings, views)
    journal = Journal(folder / JOURNAL, about)
    say("reading reduced copies")
    sides = settings.tiles.coarse_side
    sources, copies = zip(
        *(_opened(p, n, v, sides) for p, n, v in zip((fixed, moving), _NAMES, views, strict=True)),
        strict=True,
    )
    network = network_of(model, device)
    say("a coarse transform")
    coarse = register(*copies, model=network, settings=settings)
    known, result = journal.lines, None
    if coarse.transform is None:
        result = _failed(coarse)
    else:
        start = _between_originals(coarse.transform, sources)
        tiled = _tiled(network, sources, start.matrix, settings, journal, say)
        result = _judged(coarse, start, tiled, settings)
    result = replace(result, model=name_of(model), resumed=len(known))
    with filling(folder, OWNED) as place:
        _write(place, result, coarse, sources, settings, interpolation, say)
        result = replace(result, seconds=time.perf_counter() - began)
        text = json.dumps(result.to_dict(), indent=2, allow_nan=False)
        (place / "result.json").write_text(text + "\n", encoding="utf-8")
    journal.remove()
    return result


_NAMES = ("fixed image", "moving image")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write into {folder}: {error.strerror}; choose another place"
        ) from None


def _about(
    paths: tuple[Path, Path],
    model: Model,
    settings: RegisterSettings,
    views: tuple[ViewSettings, ViewSettings],
) -> dict[str, Any]:
    """What a journal belongs to."""
    files = []
    for path, name in zip(paths, _NAMES, strict=True):
        try:
            stat = path.stat()
        except OSError as error:
            raise InputError(f"cannot read {name} {path}: {error.strerror}") from None
        files.append([os.fspath(path.absolute()), stat.st_size, stat.st_mtime_ns])
    return {
        "files": files,
        "model": name_of(model),
        "settings": settings.model_dump(mode="json"),
        "views": [view.model_dump(mode="json") for view in views],
    }


def _opened(path: Path, name: str, view: ViewSettings, side: int) -> tuple[LargeSource, Raster]:
    """The image, and a reduced copy of it."""
    if not _is_tiff(path):
        raster = read_raster(path, name, view=view)
        check_content(raster, name)
        return Held(replace(raster, view=settled_view(raster))), raster
    header = read_header(path, name)
    copy = reduced(header, side, view, name)
    check_content(copy, name)
    return OnDisk(header, settled_view(copy), name), copy


def _between_originals(coarse: Transform, sources: tuple[LargeSource, LargeSource]) -> Transform:
    scales = [
        resize_matrix(*(s / o for s, o in zip(small, source.size, strict=True))).numpy()
        for small, source in zip((coarse.fixed_size, coarse.moving_size), sources, strict=True)
    ]
    matrix = np.linalg.inv(scales[1]) @ coarse.matrix @ scales[0]
    return Transform(matrix, sources[0].size, sources[1].size)


def _tiled(
    network: nn.Module,
    sources: tuple[LargeSource, LargeSource],
    start: Matrix,
    settings: RegisterSettings,
    journal: Journal,
    say: Progress,
) -> Tiled:
    """Make the coarse transform better; what an earlier run found on the same way is taken over."""
    begun = [line for line in journal.lines if "start" in line]
    if begun:
        start = np.array(begun[-1]["start"])  # other threads may round the coarse one differently
    else:
        journal.add({"start": start.tolist()})
    known = {a.tile.name: a for a in (_answer(line) for line in journal.lines if "tile" in line)}

    def settle(pair: Pair, guesses: list[Matrix]) -> Answer:
        with torch.inference_mode():
            verdict = run_stages(network, pair, guesses, settings, Clock()).verdict
        matrix = None if verdict.matrix is None else pair.in_images(verdict.matrix)
        return Answer(verdict.status, matrix, verdict.message)

    def told(level: int, done: int, count: int, answer: TileAnswer | None) -> None:
        if answer is None:
            say(f"level {level + 1}, tile {done + 1} of {count}")
        else:
            journal.add({"tile": answer.to_dict()})

    side = longest_side(network, settings)
    begun_at = min(1.0, side / max(sources[0].size))
    return refine_by_tiles(
        *sources, start, settle, settings, begun_at=begun_at, known=known, progress=told
    )


def _answer(line: dict[str, Any]) -> TileAnswer:
    data = line["tile"]
    tile = Tile(data["level"], data["x"], data["y"], data["scale"])
    matrix = None if data["matrix"] is None else np.array(data["matrix"])
    return TileAnswer(tile, data["status"], matrix)


def _failed(coarse: Registration) -> LargeRegistration:
    message = f"the reduced copies could not be aligned: {coarse.message}"
    return LargeRegistration(Status.FAILED, coarse.reason, message, None, None, [])


def _judged(
    coarse: Registration, start: Transform, tiled: Tiled, settings: RegisterSettings
) -> LargeRegistration:
    """The verdict: by the share of the tiles that agree on one transform."""
    agreeing = len(tiled.agreeing)
    share = agreeing / tiled.tried if agreeing >= min(_FEWEST, len(tiled.tiles)) > 0 else 0.0
    sure = sum(tile.status == Status.ALIGNED for tile in tiled.agreeing)
    if share >= _ENOUGH and 2 * sure >= len(tiled.agreeing):
        status, reason, why = Status.ALIGNED, Reason.NONE, tiled.words
    elif share >= _SOME or coarse.status is Status.ALIGNED:
        status, reason, why = Status.UNCERTAIN, Reason.UNCONFIRMED, f"only {tiled.words}"
    else:
        why = f"only {tiled.words}, and the reduced copies are uncertain: {coarse.message}"
        return LargeRegistration(Status.FAILED, Reason.UNCONFIRMED, why, None, start, tiled.tiles)
    kind = settings.transform
    matrix = nearest_of_kind(tiled.matrix, kind, start.fixed_size)
    transform = Transform(matrix, start.fixed_size, start.moving_size, kind)
    return LargeRegistration(status, reason, why, transform, start, tiled.tiles)


def _write(
    place: Path,
    result: LargeRegistration,
    coarse: Registration,
    sources: tuple[LargeSource, LargeSource],
    settings: RegisterSettings,
    interpolation: Interpolation | None,
    say: Progress,
) -> None:
    """All results but ``result.json``, which comes last."""
    shown = coarse
    if result.transform is not None:
        result.transform.save(place / "transform.json")
        warp_to_file(
            place / "aligned.tif",
            *sources,
            result.transform,
            block=settings.tiles.block,
            interpolation=interpolation,
            progress=lambda done, count: say(f"writing block {done + 1} of {count}"),
        )
        shown = replace(coarse, transform=_between_copies(result.transform, coarse))
    said = {"status": result.status, "reason": result.reason, "message": result.message}
    saved = replace(shown, **said, transform=shown.transform if result.ok else None)
    pictures = place / "pictures"
    saved.save(pictures)
    for path in pictures.iterdir():
        if path.name in OWNED[:3]:
            path.replace(place / path.name)
        else:
            path.unlink()
    pictures.rmdir()


def _between_copies(found: Transform, coarse: Registration) -> Transform:
    scales = [
        resize_matrix(*(s / o for s, o in zip(small, large, strict=True))).numpy()
        for small, large in (
            (coarse.fixed_size, found.fixed_size),
            (coarse.moving_size, found.moving_size),
        )
    ]
    matrix = scales[1] @ found.matrix @ np.linalg.inv(scales[0])
    return Transform(matrix, coarse.fixed_size, coarse.moving_size)
