"""``sdme apply``: use a transform file on another band, a label image or a table of points."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sdme.cli.output import JsonFlag, Output, QuietFlag
from sdme.config import Axis, Interpolation

if TYPE_CHECKING:
    import numpy as np

    from sdme.io.places import Place
    from sdme.io.raster import Raster
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
    slice: int | None = None,  # noqa: A002 - what it is called everywhere
    axis: Axis = "z",
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Carry an image or points from the moving image over to the fixed one.

    Examples: `sdme apply out/transform.json band5.tif -o band5_aligned.tif`,
    `sdme apply out/transform.json classes.png --labels`,
    `sdme apply out/transform.json points.csv -o points_in_fixed.csv`

    A GeoTIFF comes out where the fixed image was one, and a NIfTI or NRRD slice likewise. Missing
    data stays missing and is never mixed with values.

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
        how the image is sampled [default: nearest for palettes and NIfTI labels, else bilinear]
    labels
        the pixel values are names, not amounts: the same as `--interpolation nearest`
    fill
        value where the image does not reach [default: its own value of missing data, else nan in
        floating images and 0 in others]
    slice
        slice of a volume, from 0
    axis
        axis of a volume that is cut through
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.errors import InputError
    from sdme.io.points import SUFFIXES
    from sdme.io.resample import carry
    from sdme.io.write import raster_suffix, write_raster
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
        image = _read(source, place.moving_size, frame, axis, slice, fill)
        for note in image.notes:
            out.warning(note)
        how = "nearest" if labels or image.is_labels else "bilinear"
        image = carry(image, place, interpolation or how, fill, _place(transform, target))
        if source.name.lower().endswith(".nii.gz"):
            stem = f"{Path(source.stem).stem}_on_{target}"
        output = output or Path(stem + raster_suffix(image, source))
        _refuse_same(source, output)
        write_raster(output, image)
        done = {"size": list(image.size), "dtype": str(image.pixels.dtype)}
        where = "" if image.georeference is None else ", georeferenced"
        text = f"{image.size[0]}x{image.size[1]} px, {image.pixels.dtype}, {interpolation or how}"
        text += where
    out.result({"output": str(output), "from": frame, "to": target} | done)
    out.line(f"{source} carried from the {frame} to the {target} image: {output} ({text})")
    return 0


def _apply_to_points(place: "Transform", source: Path, output: Path) -> int:
    from sdme.io.points import read_points

    table = read_points(source)
    table.with_points(place.inverse.apply(table.points)).save(output)
    return len(table.rows)


def _read(
    source: Path,
    size: tuple[int, int],
    frame: Frame,
    axis: Axis,
    place: int | None,
    fill: float | None,
) -> "Raster":
    """The image that is carried over, of the size that the transform is for."""
    from sdme.errors import InputError
    from sdme.io.read import read_raster

    raster = read_raster(source, "image", axis=axis, place=place)
    width, height = raster.size
    if raster.size != size:
        raise InputError(
            f"image {source} is {width}x{height} px, but the {frame} image of this transform is "
            f"{size[0]}x{size[1]}; give a band of that grid or use --from"
        )
    if fill is not None:
        _check_fill(fill, raster.pixels)
    return raster


def _place(transform: Path, target: Frame) -> "Place | None":
    """Where the grid lies that the image is carried to, if the transform file says so."""
    from sdme.io.places import Places

    places = Places.load(transform)
    return places.fixed if target == "fixed" else places.moving


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
