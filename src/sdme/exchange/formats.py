"""All formats by name and suffix, written by one function and read by another."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdme.config import KINDS, Kind
from sdme.errors import InputError
from sdme.exchange.control_points import (
    ControlFit,
    ControlPoints,
    control_points_of,
    fit_control_points,
    is_control_table,
    read_control_points,
    write_control_points,
)
from sdme.exchange.field import write_field, write_itk_field
from sdme.exchange.gcps import read_gcps, write_gcps
from sdme.exchange.itk import read_itk, write_itk
from sdme.exchange.matrices import Bare, read_numpy, read_opencv, write_numpy, write_opencv
from sdme.exchange.place import ImageSource, Place, place_of
from sdme.exchange.qgis import read_qgis_points, write_qgis_points
from sdme.transform import Transform, smallest_kind

Writer = Callable[[Path, Transform, Place, Place], None]


@dataclass(frozen=True)
class Format:
    """A format: its suffixes, in one phrase what it is, and how it is written."""

    suffixes: tuple[str, ...]
    summary: str
    write: Writer


FORMATS: dict[str, Format] = {
    "json": Format((".json",), "the transform file of sdme", lambda p, t, _f, _m: t.save(p)),
    "itk": Format((".tfm", ".txt"), "ITK transform", lambda p, t, _f, _m: write_itk(p, t)),
    "opencv": Format(
        (".yml", ".yaml", ".xml"), "matrix for OpenCV", lambda p, t, _f, _m: write_opencv(p, t)
    ),
    "numpy": Format((".npy", ".npz"), "matrix for NumPy", lambda p, t, _f, _m: write_numpy(p, t)),
    "csv": Format(
        (".csv",),
        "control points, pixels of both images",
        lambda p, t, _f, _m: write_control_points(p, control_points_of(t)),
    ),
    "qgis": Format(
        (".points",),
        "points of the QGIS Georeferencer",
        lambda p, t, f, m: write_qgis_points(p, control_points_of(t), f, m),
    ),
    "field": Format(
        (".tif", ".tiff"),
        "displacement field, two bands",
        lambda p, t, f, _m: write_field(p, t, f),
    ),
    "itk-field": Format(
        (".mha", ".nii", ".nii.gz", ".nrrd"),
        "displacement field for ITK",
        lambda p, t, _f, _m: write_itk_field(p, t),
    ),
    "gcps": Format(
        (".vrt", ".tif", ".tiff"),
        "the moving image with ground control points",
        lambda p, t, f, m: write_gcps(p, control_points_of(t), f, m),
    ),
}


def export_transform(
    transform: Transform,
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002 - what it is called everywhere
    *,
    fixed: ImageSource | None = None,
    moving: ImageSource | None = None,
) -> str:
    """Write a transform for another program; returns the name of the format.

    Without a ``format`` the suffix says it. ``fixed`` and ``moving`` are the images, for formats
    that say where they lie on the ground (``field``, ``qgis``, ``gcps``).

    Raises:
        InputError: the format or suffix is unknown or cannot hold the transform, an image cannot
            be read or is of another size than the transform's, ``path`` is one of the images, or
            the place cannot be written to.
    """
    path = Path(path)
    name = format or format_of(path)
    if name not in FORMATS:
        raise InputError(f"format {name!r} is unknown; use one of {', '.join(FORMATS)}")
    suffixes = FORMATS[name].suffixes
    if not path.name.lower().endswith(suffixes):
        raise InputError(f"cannot write {path} as {name}: end the name in {' or '.join(suffixes)}")
    places = []
    for image, what in ((fixed, "fixed"), (moving, "moving")):
        size = transform.fixed_size if what == "fixed" else transform.moving_size
        place = Place(size) if image is None else place_of(image, f"{what} image")
        if place.size != size:
            raise InputError(
                f"the {what} image is {_text(place.size)} px, but the transform is for one of "
                f"{_text(size)} px; give the image it was made for"
            )
        if place.path is not None and path.exists() and path.samefile(place.path):
            raise InputError(f"{path} is the {what} image itself; give another name")
        places.append(place)
    FORMATS[name].write(path, transform, *places)
    return name


def format_of(path: Path) -> str:
    """The format that a file's suffix says; the first that has it."""
    for name, known in FORMATS.items():
        if path.name.lower().endswith(known.suffixes):
            return name
    every = ", ".join(suffix for known in FORMATS.values() for suffix in known.suffixes)
    raise InputError(f"no format is known by the name of {path}; end it in one of {every}")


@dataclass(frozen=True)
class ReadTransform:
    """A transform, its format, and for lists of points how well they fit."""

    transform: Transform
    format: str
    control: ControlFit | None = None
    points: ControlPoints | None = None

    @property
    def warnings(self) -> list[str]:
        """What should be known of the points, one line each."""
        if self.control is None or self.points is None or not self.control.left_out:
            return []
        gaps = [
            f"{self.points.names[k]} ({self.control.residuals[k]:.1f} px)"
            for k in self.control.left_out
        ]
        return [f"points that do not fit the others were left out: {', '.join(gaps)}"]


def read_transform(
    path: str | os.PathLike[str],
    *,
    fixed: ImageSource | None = None,
    moving: ImageSource | None = None,
    kind: Kind | None = None,
) -> ReadTransform:
    """Read a transform of ours or of another program, or fit one to a list of control points.

    Read are ``json``, ``itk``, ``opencv``, ``numpy``; fitted are ``csv``, ``qgis`` and the control
    points of an image (``.tif``, ``.vrt``). ``fixed`` and ``moving`` are the images, of which
    formats without sizes take theirs. ``kind`` is what points are fitted with.

    Raises:
        InputError: the file cannot be read, does not fix a transform, or the images that it needs
            are not given or of other sizes.
    """
    path = Path(path)
    name = _format_to_read(path)
    places = [
        None if image is None else place_of(image, f"{what} image")
        for image, what in ((fixed, "fixed"), (moving, "moving"))
    ]
    if name == "json":
        found = ReadTransform(Transform.load(path), name)
    elif name in ("csv", "qgis", "gcps"):
        found = _fitted(path, name, *_both(places, path), kind)
    else:
        found = ReadTransform(_read_matrix(path, name, places), name)
    for place, what in zip(places, ("fixed", "moving"), strict=True):
        size = getattr(found.transform, f"{what}_size")
        if place is not None and place.size != size:
            raise InputError(
                f"{path} is for a {what} image of {_text(size)} px, but this one is "
                f"{_text(place.size)}; give the image it was made for"
            )
    return found


def _format_to_read(path: Path) -> str:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"cannot read transform {path}: it {what}")
    name = format_of(path)
    if name == "itk" and is_control_table(path):
        return "csv"
    if name == "field":
        return "gcps"
    if name == "itk-field":
        raise InputError(f"{path} is a displacement field, which is written but not read")
    return name


def _read_matrix(path: Path, name: str, places: list[Place | None]) -> Transform:
    if name == "itk":
        bare = Bare(read_itk(path))
    else:
        bare = (read_opencv if name == "opencv" else read_numpy)(path)
    sizes = bare.sizes
    if sizes is None:
        fixed, moving = _both(places, path)
        sizes = fixed.size, moving.size
    try:
        plain = Transform(bare.matrix, *sizes)
        kind = bare.kind if bare.kind in KINDS else smallest_kind(plain.matrix)
        return Transform(plain.matrix, *sizes, kind)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _fitted(path: Path, name: str, fixed: Place, moving: Place, kind: Kind | None) -> ReadTransform:
    if name == "csv":
        points = read_control_points(path)
    elif name == "qgis":
        points = read_qgis_points(path, fixed, moving)
    else:
        points = read_gcps(path, fixed)
    control = fit_control_points(points, fixed.size, moving.size, kind, str(path))
    return ReadTransform(control.transform, name, control, points)


def _both(places: list[Place | None], path: Path) -> tuple[Place, Place]:
    fixed, moving = places
    if fixed is None or moving is None:
        raise InputError(
            f"{path} does not say how large the images are; name them with --fixed and --moving"
        )
    return fixed, moving


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
