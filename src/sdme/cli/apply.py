"""``sdme apply``: use a transform file on another band, a label image or a table of points."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sdme.cli.output import JsonFlag, Output, QuietFlag
from sdme.config import Interpolation

if TYPE_CHECKING:
    import numpy as np

    from sdme.transform import Transform

Frame = Literal["moving", "fixed"]


def apply(
    transform: Path,
    source: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    frame: Annotated[Frame, Parameter(name="--from")] = "moving",
    interpolation: Interpolation | None = None,
    labels: Annotated[bool, Parameter(negative="")] = False,
    fill: float | None = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Carry an image or points from the moving image over to the fixed one.

    Examples: `sdme apply out/transform.json band5.tif -o band5_aligned.tif`,
    `sdme apply out/transform.json classes.png --labels`,
    `sdme apply out/transform.json points.csv -o points_in_fixed.csv`

    Points are a .csv, .tsv or .txt table with columns x and y (or the first two, without a
    header) in pixels, pixel centres at whole numbers; other columns are kept. A point that the
    transform cannot map becomes nan.

    Parameters
    ----------
    transform
        transform file that `sdme register` wrote
    source
        image or table of points
    output
        file to write [default: NAME_on_fixed or NAME_on_moving in the current folder]
    frame
        what the input belongs to: `moving` carries it to the fixed image, `fixed` the other way
    interpolation
        how the image is sampled [default: bilinear]
    labels
        the pixel values are names, not amounts: the same as `--interpolation nearest`
    fill
        value where the image does not reach [default: nan in floating images, else 0]
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.errors import InputError
    from sdme.io.image import image_suffix, write_image
    from sdme.io.points import SUFFIXES
    from sdme.transform import Transform

    if labels and interpolation not in (None, "nearest"):
        raise InputError(f"--labels and --interpolation {interpolation} exclude each other")
    out = Output(as_json, quiet)
    loaded = Transform.load(transform)
    place = loaded if frame == "moving" else loaded.inverse
    target = "fixed" if frame == "moving" else "moving"
    stem = f"{source.stem}_on_{target}"
    if source.suffix.lower() in SUFFIXES:
        output = output or Path(stem + source.suffix)
        _refuse_same(source, output)
        count = _apply_to_points(place, source, output)
        done = {"points": count}
        text = f"{count} points"
    else:
        how = "nearest" if labels else interpolation or "bilinear"
        image = _warped(place, source, frame, how, fill)
        output = output or Path(stem + image_suffix(image, source.suffix))
        _refuse_same(source, output)
        write_image(output, image)
        done = {"size": [image.shape[1], image.shape[0]], "dtype": str(image.dtype)}
        text = f"{image.shape[1]}x{image.shape[0]} px, {image.dtype}, {how}"
    out.result({"output": str(output), "from": frame, "to": target} | done)
    out.line(f"{source} carried from the {frame} to the {target} image: {output} ({text})")
    return 0


def _apply_to_points(place: "Transform", source: Path, output: Path) -> int:
    from sdme.io.points import read_points

    table = read_points(source)
    table.with_points(place.inverse.apply(table.points)).save(output)
    return len(table.rows)


def _warped(
    place: "Transform", source: Path, frame: Frame, how: Interpolation, fill: float | None
) -> "np.ndarray":
    """The image on the other grid; ``place`` maps that grid to the image's own pixels."""
    from sdme.errors import InputError
    from sdme.io.image import no_data_value, read_layer

    image = read_layer(source, "image")
    width, height = image.shape[1], image.shape[0]
    if (width, height) != place.moving_size:
        raise InputError(
            f"image {source} is {width}x{height} px, but the {frame} image of this transform is "
            f"{place.moving_size[0]}x{place.moving_size[1]}; give a band of that grid or use --from"
        )
    value = no_data_value(image) if fill is None else fill
    _check_fill(value, image)
    return place.warp(image, interpolation=how, fill=value)


def _check_fill(fill: float, image: "np.ndarray") -> None:
    import numpy as np

    from sdme.errors import InputError

    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        if not (limits.min <= fill <= limits.max and fill == int(fill)):
            raise InputError(
                f"--fill {fill:g} does not fit {image.dtype}; give a whole number from "
                f"{limits.min} to {limits.max}"
            )


def _refuse_same(source: Path, output: Path) -> None:
    from sdme.errors import InputError

    if output.exists() and source.exists() and output.samefile(source):
        raise InputError(f"{output} is the input itself; give another name with -o")
