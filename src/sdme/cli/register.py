"""``sdme register``: align two images and write everything into a folder."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from sdme.cli.output import JsonFlag, Output, QuietFlag
from sdme.config import (
    Axis,
    Choice,
    Interpolation,
    Kind,
    RegisterSettings,
    Search,
    Stages,
    Tiles,
    ViewSettings,
)

if TYPE_CHECKING:
    from sdme.io.raster import Raster
    from sdme.report.output import SavedFiles
    from sdme.result import Registration

_DEFAULTS = RegisterSettings()
_EXIT_FAILED = 3
_STAGES = {
    "extract": "extracting features",
    "match": "matching",
    "estimate": "estimating the transform",
    "vote": "improving the transform",
    "refine": "refining the transform",
    "judge": "judging the answer",
    "search": "trying rotations and scales",
}


def register(
    fixed: Path,
    moving: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    model: str | None = None,
    stages: Stages = _DEFAULTS.stages,
    transform: Kind | Literal["auto"] = _DEFAULTS.transform,
    search: Search = _DEFAULTS.search,
    tiles: Tiles = "auto",
    initial: Path | None = None,
    device: str = "auto",
    max_side: Annotated[int, Parameter(validator=Number(gte=32))] | None = None,
    interpolation: Interpolation | None = None,
    fixed_mask: Path | None = None,
    moving_mask: Path | None = None,
    fixed_bands: str | None = None,
    moving_bands: str | None = None,
    fixed_log: Choice = "auto",
    moving_log: Choice = "auto",
    fixed_slice: int | None = None,
    moving_slice: int | None = None,
    fixed_axis: Axis = "z",
    moving_axis: Axis = "z",
    ignore_places: Annotated[bool, Parameter(negative="")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Align the moving image with the fixed one.

    Example: `sdme register fixed.tif moving.png -o out`

    The folder receives the transform, the moving image on the fixed image's grid (full size, own
    bit depth), a checkerboard, an overlay, the matches, `report.html` for you and `result.json`
    for your programs. Files of an earlier run in it are replaced, all others are left alone.

    Exit code 0: aligned, or uncertain (with a warning). 3: could not be aligned; then there is a
    report, but neither a transform nor an aligned image. 2: bad input, nothing is written.

    Parameters
    ----------
    fixed
        image whose pixel grid the result lies on (PNG, TIFF, JPEG, WebP, BMP; GeoTIFF with the
        extra `geo`; NIfTI, NRRD, DICOM with the extra `medical`)
    moving
        image that is warped onto it
    output
        folder for the results [default: FIXED_MOVING_sdme]
    model
        name of shipped weights (see `sdme models`) or a .safetensors file
    stages
        matched points, fine alignment from the initial guess, or both in turn
    transform
        what is looked for: a shift alone, with a turn, with a scale, an affine map or a homography;
        auto: the simplest of them that the matches do not speak against
    search
        rotations over the whole circle and scales from 0.25 to 4 as hypotheses: where the plain try
        does not end aligned (auto), always (on), or never (off)
    tiles
        register reduced copies, then tiles at full resolution, and write the aligned image block by
        block: for TIFFs beyond 100 million pixels (auto), always (on), or never (off); an
        interrupted run goes on where it was
    initial
        transform file to start from, for images that only fine alignment brings together
    device
        auto, cpu, cuda or cuda:N
    max_side
        images are shrunk to this longer side (px) for the network, never for the result
        [default: what suits the model, 640, or 512 if it is of the preset fast]
    interpolation
        how the aligned image is sampled [default: nearest for labels and palettes, else bilinear]
    fixed_mask
        image of the fixed image's size: only where it is not zero is looked
    moving_mask
        the same for the moving image
    fixed_bands
        one or three bands that the network sees, from 1, such as 4,3,2
        [default: red, green and blue by their names, else the first three]
    moving_bands
        the same for the moving image
    fixed_log
        show the network logarithms, as suits radar [auto: one speckled band]
    moving_log
        the same for the moving image
    fixed_slice
        slice of a volume, from 0
    moving_slice
        the same for the moving image
    fixed_axis
        axis of a volume that is cut through
    moving_axis
        the same for the moving image
    ignore_places
        do not start from where the files say that the images lie
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.io.folder import check_apart, check_writable
    from sdme.report.output import OWNED
    from sdme.transform import Transform

    out = Output(as_json, quiet)
    folder = output or Path(f"{fixed.stem}_{moving.stem}_sdme")
    guess = None if initial is None else Transform.load(initial)
    if tiles != "off":
        from sdme.cli.register_large import by_tiles, register_large

        if by_tiles(tiles, fixed, moving):
            given = {"--initial": initial, "--fixed-mask": fixed_mask, "--moving-mask": moving_mask,
                     "--fixed-slice": fixed_slice, "--moving-slice": moving_slice}  # fmt: skip
            settings = RegisterSettings(
                stages=stages,
                transform="homography" if transform == "auto" else transform,
                max_side=max_side,
                search=search,
            )
            views = (
                _view(fixed_bands, fixed_log, ignore_places),
                _view(moving_bands, moving_log, ignore_places),
            )
            return register_large(
                fixed, moving, folder, out,
                model=model, settings=settings, views=views, device=device,
                interpolation=interpolation, not_taken=given,
            )  # fmt: skip
    images = [
        _read(fixed, "fixed image", fixed_mask, _view(fixed_bands, fixed_log, ignore_places),
              fixed_axis, fixed_slice),
        _read(moving, "moving image", moving_mask, _view(moving_bands, moving_log, ignore_places),
              moving_axis, moving_slice),
    ]  # fmt: skip
    sources = (fixed, moving, initial, fixed_mask, moving_mask)
    check_apart(folder, OWNED, [path for path in sources if path is not None])
    check_writable(folder)
    with out.progress() as progress:
        progress("loading the libraries")
        from sdme.model.weights import DEFAULT_MODEL
        from sdme.register import register as run

        result = run(
            *images,
            model=model or DEFAULT_MODEL,
            settings=RegisterSettings(
                stages=stages,
                transform="homography" if transform == "auto" else transform,
                simplest=transform == "auto",
                max_side=max_side,
                search=search,
            ),
            initial=guess,
            device=device,
            progress=lambda stage: progress(_STAGES.get(stage, "loading the network")),
        )
        result = replace(result, fixed_name=str(fixed), moving_name=str(moving))
        progress("writing the results")
        saved = result.save(folder, interpolation)
    return _tell(result, saved, out)


def _read(
    path: Path, name: str, mask: Path | None, view: ViewSettings, axis: Axis, place: int | None
) -> "Raster":
    from sdme.io.read import check_content, read_raster

    raster = read_raster(path, name, mask=mask, view=view, axis=axis, place=place)
    check_content(raster, name)
    return raster


def _view(bands: str | None, log: Choice, ignore_places: bool) -> ViewSettings:
    from sdme.errors import InputError

    numbers = None
    if bands is not None:
        words = bands.split(",")
        if len(words) not in (1, 3) or not all(w.isdecimal() and int(w) > 0 for w in words):
            raise InputError(
                f"{bands!r} are no bands; give one or three numbers from 1, such as 4,3,2"
            )
        numbers = tuple(int(word) for word in words)
    return ViewSettings(bands=numbers, log=log, place=not ignore_places)


def _tell(result: "Registration", saved: "SavedFiles", out: Output) -> int:
    """Print the outcome; returns the exit code."""
    content = result.to_dict()
    files = {name: path and str(path) for name, path in vars(saved).items()}
    out.result(content | {"files": files})
    kept = f"{content['inliers']} of {content['matches']} matches kept by the fit"
    summary = f"{kept}, model {result.model}" + (
        f", {result.timings['total']:.2f} s" if "total" in result.timings else ""
    )
    if not result.ok:
        out.error(f"could not align: {result.message} (see {saved.report})")
        return _EXIT_FAILED
    for note in result.notes:
        out.warning(note)
    if result.status == "uncertain":
        out.warning(f"uncertain: {result.message}; look at {saved.report}")
    out.line(f"{result.status}: {summary}")
    if (moved := result.correction) is not None:
        out.line(str(moved))
    if result.search is not None:
        out.line(str(result.search))
    out.line(f"saved in {saved.folder}; open {saved.report}")
    return 0
