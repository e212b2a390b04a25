"""``sdme refine``: someone else's transform, made better."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from sdme.cli.output import JsonFlag, Output, QuietFlag
from sdme.config import Kind

if TYPE_CHECKING:
    from sdme.refinement import Evidence, Refined
    from sdme.transform import Transform

_EXIT_FAILED = 3
_STAGES = {
    "read": "loading the network",
    "extract": "extracting features",
    "vote": "improving the transform",
    "refine": "refining the transform",
}


def refine(
    fixed: Path,
    moving: Path,
    /,
    *,
    initial: Annotated[Path | None, Parameter(alias="-i")] = None,
    shift: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    rotation: Annotated[float | None, Parameter(allow_leading_hyphen=True)] = None,
    scale: float | None = None,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    transform: Kind | None = None,
    model: str | None = None,
    device: str = "auto",
    max_side: Annotated[int, Parameter(validator=Number(gte=32))] | None = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Improve a transform that you have: from a file, from control points, or four numbers.

    Examples: `sdme refine fixed.tif moving.tif --initial theirs.tfm -o out`,
    `sdme refine fixed.png moving.png --initial points.csv -o out --transform affine`,
    `sdme refine fixed.png moving.png --shift 12,-5 --rotation 3 --scale 1.1 -o out`

    Only fine alignment runs, from this start and from nowhere else. The folder receives
    `transform.json`, `before_after.png` and the numbers in `refined.json`.

    Exit code 0: a better transform, or the start again where nothing better was found (with a
    warning where it is not sure). 3: it could not be improved, for the start is too far off or the
    images have nothing in common; nothing is written. 2: bad input, nothing is written.

    Parameters
    ----------
    fixed
        image whose pixel grid the transform starts from
    moving
        image that it leads to
    initial
        transform file, or any that `sdme export` reads: .tfm, .yml, .npy, .npz, .csv, .points
    shift
        DX,DY in pixels of the moving image: where the middle of the fixed image goes from its place
    rotation
        degrees, clockwise as seen, around the middle of the fixed image [default: 0]
    scale
        enlargement, around it [default: 1]
    output
        folder for the results [default: FIXED_MOVING_refined]
    transform
        kind of the answer [default: that of the file; homography for numbers]
    model
        name of shipped weights (see `sdme models`) or a .safetensors file
    device
        auto, cpu, cuda or cuda:N
    max_side
        images are shrunk to this longer side (px) for the network [default: what suits the model]
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.exchange.formats import read_transform
    from sdme.exchange.numbers import transform_from_numbers
    from sdme.exchange.place import place_of
    from sdme.io.folder import check_apart, check_writable
    from sdme.report.refined import OWNED

    out = Output(as_json, quiet)
    folder = output or Path(f"{fixed.stem}_{moving.stem}_refined")
    numbers = {"--shift": shift, "--rotation": rotation, "--scale": scale}
    _check_one_start(initial, [name for name, value in numbers.items() if value is not None])
    if initial is None:
        sizes = place_of(fixed, "fixed image").size, place_of(moving, "moving image").size
        start = transform_from_numbers(shift, rotation, scale, *sizes)
        transform = transform or "homography"
    else:
        found = read_transform(initial, fixed=fixed, moving=moving)
        start = found.transform
        for warning in found.warnings:
            out.warning(warning)
    check_apart(folder, OWNED, [path for path in (fixed, moving, initial) if path is not None])
    check_writable(folder)
    return _run(fixed, moving, start, folder, (transform, model, device, max_side), out)


def _run(
    fixed: Path,
    moving: Path,
    start: "Transform",
    folder: Path,
    how: tuple[Kind | None, str | None, str, int | None],
    out: Output,
) -> int:
    kind, model, device, max_side = how
    with out.progress() as progress:
        progress("loading the libraries")
        from sdme.config import RegisterSettings
        from sdme.model.weights import DEFAULT_MODEL
        from sdme.refinement import refine_transform

        result = refine_transform(
            fixed,
            moving,
            start,
            kind=kind,
            model=model or DEFAULT_MODEL,
            settings=RegisterSettings(max_side=max_side),
            device=device,
            progress=lambda stage: progress(_STAGES.get(stage, "comparing with matches")),
        )
        progress("writing the results")
        files = vars(result.save(folder)) if result.ok else {}
    out.result(result.to_dict() | {"files": {name: str(path) for name, path in files.items()}})
    return _tell(result, folder, out)


def _tell(result: "Refined", folder: Path, out: Output) -> int:
    rows = (("before", result.before), ("after", result.after))
    for name, evidence in rows if result.ok else rows[:1]:
        out.line(f"{name:<7}{_figures(evidence, result.matches)}")
    if not result.ok:
        out.error(f"could not refine: {result.message}; nothing was written")
        return _EXIT_FAILED
    if not result.is_sure:
        out.warning(f"not sure: {result.message}; look at {folder / 'before_after.png'}")
    out.line(
        f"{result.outcome.value}: the corners moved by {result.moved:.2f} px; saved in {folder}"
    )
    return 0


def _figures(evidence: "Evidence", matches: int | None) -> str:
    words = [f"residual {evidence.residual:.4g}"]
    if evidence.predicted_error is not None:
        words.append(f"predicted error {evidence.predicted_error:.1f} px")
    if evidence.agreement is not None:
        words.append(f"agreement of the maps {evidence.agreement:.2f}")
    if evidence.agreeing is not None:
        words.append(f"{evidence.agreeing} of {matches} matches agree")
    return ", ".join(words)


def _check_one_start(initial: Path | None, numbers: list[str]) -> None:
    from sdme.errors import InputError

    if initial is not None and numbers:
        raise InputError(f"--initial and {', '.join(numbers)} exclude each other; give one start")
    if initial is None and not numbers:
        raise InputError(
            "there is no start; give a file with --initial, or --shift DX,DY with --rotation and "
            "--scale (sdme register needs none)"
        )
