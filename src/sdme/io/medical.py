"""Slices of NIfTI, NRRD and DICOM files through SimpleITK.

A slice is taken as it is stored: the first index of the file runs to the right (with axis x: the
second), the other one downwards. It keeps its spacing and its place in the body, so that what is
aligned with it can be stored there again.
"""

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np

from sdme.config import Axis
from sdme.errors import InputError
from sdme.io.dicom import elements_fit
from sdme.io.georeference import first_line
from sdme.io.header import Format
from sdme.io.limits import MAX_BYTES, too_large
from sdme.io.quiet import silent_stderr
from sdme.io.raster import Plane, Raster

_READERS = {"nifti": "NiftiImageIO", "nrrd": "NrrdImageIO", "dicom": "GDCMImageIO"}
_SUFFIXES = {"nifti": ".nii.gz", "nrrd": ".nrrd", "dicom": ".nrrd"}
_MAX_RATIO = 1100  # no byte of deflate or run lengths unpacks to more
_LABEL_INTENT, _INTENT_PLACE = 1002, 68  # NIFTI_INTENT_LABEL, and where the header says so
_NIFTI_COLOURS = ("128", "2304", "32", "1792")  # RGB, RGBA, and complex numbers
_HEADER = 64 * 1024


def decode_slice(
    file: IO[bytes], path: Path, kind: Format, label: str, axis: Axis, place: int | None
) -> Raster:
    """One slice; ``axis`` is the one cut through, ``place`` counts from 0.

    ``place`` may be left out where there is but one.

    Raises:
        InputError: SimpleITK is missing, the file is damaged or too large or keeps its pixels in
            another file, or there is no such slice.
    """
    sitk = load_simpleitk()
    _check_whole(file, kind, label)
    with _explaining(label, kind):
        reader = sitk.ImageFileReader()
        reader.SetImageIO(_READERS[kind])
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        sizes = _sizes(reader, label)
        _check_bytes(reader, sizes, file, label)
        if kind == "nifti":
            _check_length(reader, sizes, file, label)
        index = _index(sizes, axis, place, label)
        image = reader.Execute()
        while image.GetDimension() > 3:
            image = image[..., 0]
        pixels = sitk.GetArrayFromImage(image)
        is_labels = kind == "nifti" and _meta(reader, "intent_code") == str(_LABEL_INTENT)
        plane = _plane(image, axis, index, _SUFFIXES[kind])
    bands = image.GetNumberOfComponentsPerPixel() > 1
    if pixels.ndim - bands == 2:
        pixels = pixels[None]
    pixels = np.take(pixels, index, axis="zyx".index(axis))
    return Raster(np.ascontiguousarray(pixels), plane=plane, is_labels=is_labels)


def write_slice(path: Path, raster: Raster) -> None:
    """Store one slice where its plane lies.

    Raises:
        InputError: SimpleITK is missing, or cannot store the image.
    """
    sitk, plane = load_simpleitk(), raster.plane
    if plane is None:
        raise InputError(f"cannot write {path}: it is not known where the slice lies")
    with _explaining(f"cannot write {path}: it", "nifti"):
        image = sitk.GetImageFromArray(raster.pixels[None], isVector=raster.pixels.ndim == 3)
        image.SetSpacing([float(value) for value in plane.spacing])
        image.SetOrigin([float(value) for value in plane.origin])
        image.SetDirection(plane.direction.ravel().tolist())
        sitk.WriteImage(image, str(path), useCompression=True)
    if raster.is_labels and path.name.lower().endswith((".nii", ".nii.gz")):
        _declare_labels(path)


def _declare_labels(path: Path) -> None:
    """Say in a NIfTI header that values are labels, which SimpleITK cannot."""
    is_packed = path.suffix.lower() == ".gz"
    data = bytearray(gzip.decompress(path.read_bytes()) if is_packed else path.read_bytes())
    data[_INTENT_PLACE : _INTENT_PLACE + 2] = _LABEL_INTENT.to_bytes(2, "little")
    path.write_bytes(gzip.compress(bytes(data)) if is_packed else bytes(data))


def load_simpleitk() -> ModuleType:
    """SimpleITK, or one line that says how to get it."""
    try:
        import SimpleITK
    except ImportError:
        raise InputError(
            "NIfTI, NRRD and DICOM files need SimpleITK, which is not installed: "
            "pip install 'sdme[medical]'"
        ) from None
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


@contextlib.contextmanager
def _explaining(label: str, kind: Format) -> Iterator[None]:
    """Errors of the library as one line, and none of its own lines."""
    try:
        with silent_stderr():
            yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # it raises RuntimeError, and TypeError for odd headers
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = lines[-1] if lines else first_line(error)
        raise InputError(
            f"{label} cannot be handled as {kind.upper()}: {cause[-200:]}; give an undamaged file"
        ) from None


def _check_whole(file: IO[bytes], kind: Format, label: str) -> None:
    """Refuse headers that name other files, or lengths that make the library take much memory."""
    if kind == "dicom" and not elements_fit(file):
        raise InputError(f"{label} is damaged or cut short: a DICOM value ends behind the file")
    file.seek(0)
    header = file.read(_HEADER).split(b"\n\n", 1)[0].lower()
    if kind == "nrrd" and any(key in header for key in (b"data file:", b"datafile:")):
        raise InputError(f"{label} keeps its pixels in another file; write it as one .nrrd file")


def _sizes(reader: Any, label: str) -> list[int]:
    sizes = [int(size) for size in reader.GetSize()]
    if min(sizes, default=0) < 1:
        raise InputError(f"{label} declares sides of {sizes} px; give an undamaged file")
    if any(size > 1 for size in sizes[3:]):
        raise InputError(
            f"{label} has {len(sizes)} dimensions ({'x'.join(map(str, sizes))}); "
            "write one volume of them alone"
        )
    return (sizes + [1, 1])[:3]


def _check_bytes(reader: Any, sizes: list[int], file: IO[bytes], label: str) -> None:
    """The declared size is within limits and in the power of so long a file."""
    count = sizes[0] * sizes[1] * sizes[2] * max(1, reader.GetNumberOfComponents())
    for width, height in ((sizes[0], sizes[1]), (sizes[0], sizes[2]), (sizes[1], sizes[2])):
        if problem := too_large(width, height):
            raise InputError(f"{label} declares slices of {problem}")
    if count > MAX_BYTES // 2:
        raise InputError(
            f"{label} declares {'x'.join(map(str, sizes))} px; at most {MAX_BYTES // 2e9:.1f} "
            "billion values are read: crop it"
        )
    if count > _MAX_RATIO * file.seek(0, os.SEEK_END):
        raise InputError(f"{label} is cut short: pixels are missing; give an undamaged file")


def _check_length(reader: Any, sizes: list[int], file: IO[bytes], label: str) -> None:
    """The pixels are all there: the library takes a NIfTI file that is cut short for whole."""
    components = max(1, reader.GetNumberOfComponents())
    bits = int(_meta(reader, "bitpix"))
    if _meta(reader, "datatype") not in _NIFTI_COLOURS:  # their bits are those of all components
        bits *= components
    count = sizes[0] * sizes[1] * sizes[2]
    needed = int(float(_meta(reader, "vox_offset"))) + count * bits // 8
    if _length(file, needed) < needed:
        raise InputError(f"{label} is cut short: pixels are missing; give an undamaged file")


def _length(file: IO[bytes], enough: int) -> int:
    """Bytes in a file, unpacked if it is packed; counting ends where there are ``enough``."""
    file.seek(0)
    if file.read(2) != b"\x1f\x8b":
        return file.seek(0, os.SEEK_END)
    file.seek(0)
    count = 0
    with contextlib.suppress(OSError, EOFError, zlib.error), gzip.GzipFile(fileobj=file) as content:
        while count < enough and (part := content.read(2**20)):
            count += len(part)
    return count


def _index(sizes: list[int], axis: Axis, place: int | None, label: str) -> int:
    count = sizes["xyz".index(axis)]
    text = f"{label} is a volume of {'x'.join(map(str, sizes))} px"
    if place is None:
        if count == 1:
            return 0
        raise InputError(
            f"{text}; choose one of its slices 0 to {count - 1} along {axis} (the middle one is "
            f"{count // 2}), and another axis if need be"
        )
    if not 0 <= place < count:
        raise InputError(f"{text} without a slice {place} along {axis}; give 0 to {count - 1}")
    return place


def _plane(image: Any, axis: Axis, index: int, suffix: str) -> Plane:
    """Spacing, origin and directions of the slice: right, down, and through it."""
    dimension = image.GetDimension()
    direction, spacing, origin = np.eye(3), np.ones(3), np.zeros(3)
    direction[:dimension, :dimension] = np.reshape(image.GetDirection(), (dimension, dimension))
    spacing[:dimension], origin[:dimension] = image.GetSpacing(), image.GetOrigin()
    cut = "xyz".index(axis)
    first = origin + direction[:, cut] * spacing[cut] * index
    order = [*(i for i in range(3) if i != cut), cut]
    columns = direction[:, order]
    if np.linalg.det(columns) * np.linalg.det(direction) < 0:
        columns = columns * [1, 1, -1]
    return Plane(
        tuple(float(spacing[i]) for i in order),  # type: ignore[arg-type]
        tuple(first.tolist()),
        columns,
        suffix,
    )


def _meta(reader: Any, key: str) -> str:
    return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""
