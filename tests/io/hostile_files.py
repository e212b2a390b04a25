"""Reads damaged files one after the other and tells what came of it; run as a process of its own.

    python hostile_files.py SEED COUNT FOLDER

Every file is one of the seeds, changed at random. The last line on stdout is a JSON object with the
numbers of files that were read and refused, the slowest one's seconds and all complaints that break
the rules. A crash or hang shows in how the process ends; FOLDER/current is then the file.
"""

import gzip
import json
import resource
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import rasterio
import SimpleITK as sitk  # noqa: N813 - its own name
import tifffile

from sdme import InputError, read_raster
from sdme.io.geo import Window, read_header, read_window

MEMORY = 3 * 2**30  # of the whole process, libraries included
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def seeds(folder: Path) -> dict[str, bytes]:
    """One small file of every kind, by its suffix and a word."""
    random = np.random.default_rng(0)
    grey = random.integers(0, 255, (40, 48)).astype(np.uint8)
    deep = (grey.astype(np.uint16) * 200)[..., None].repeat(3, axis=2)
    for name, image in (("8.png", grey), ("16.png", deep), ("8.jpg", grey), ("8.webp", deep // 256),
                        ("8.bmp", grey)):  # fmt: skip
        cv2.imwrite(str(folder / name), image.astype(np.uint8) if "8." in name else image)
    for name, options in (
        ("plain.tif", {}), ("tiles.tif", {"tile": (16, 16), "compression": "zlib"}),
        ("lzw.tif", {"compression": "lzw", "predictor": True}),
        ("jpeg.tif", {"compression": "jpeg"}), ("big.tif", {"bigtiff": True}),
        ("packed.tif", {"compression": "packbits"}),
    ):  # fmt: skip
        tifffile.imwrite(folder / name, grey if name == "jpeg.tif" else deep, **options)
    profile = {"driver": "GTiff", "width": 48, "height": 40, "count": 3, "dtype": "uint16",
               "crs": "EPSG:32633",
               "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)}  # fmt: skip
    for name, options in (("geo.tif", {"nodata": 7}), ("mask.tif", {"compress": "deflate"})):
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(folder / name, "w", **profile, **options) as out,
        ):
            out.write(np.moveaxis(deep, -1, 0))
            out.set_band_description(1, "red")
            if name == "mask.tif":
                out.write_mask(grey > 50)
                out.build_overviews([2])
    volume = sitk.GetImageFromArray(random.integers(0, 900, (3, 40, 48)).astype(np.int16))
    for name in ("v.nii", "v.nii.gz", "v.nrrd"):
        sitk.WriteImage(volume, str(folder / name))
    sitk.WriteImage(volume, str(folder / "z.nrrd"), useCompression=True)
    sitk.WriteImage(volume[..., :1], str(folder / "s.dcm"))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def mutant(data: bytes, random: np.random.Generator, is_packed: bool) -> bytes:
    """A few bytes, a number or the length changed; mostly near the beginning, where headers are."""
    if is_packed and random.random() < 0.7:
        return gzip.compress(mutant(gzip.decompress(data), random, False), 1)
    out = bytearray(data)
    reach = len(out) if random.random() < 0.3 else min(len(out), 600)
    if random.random() < 0.3:  # a TIFF's directory is often at the end
        place = len(out) - 1 - int(random.integers(0, min(len(out), 600)))
        out[place] = int(random.integers(0, 256))
    for _ in range(int(random.integers(1, 4))):
        place, kind = int(random.integers(0, reach)), random.integers(0, 6)
        width = int(random.choice([1, 2, 4, 8]))
        if kind == 0:
            out[place] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            out[place] = int(random.integers(0, 256))
        elif kind in (2, 3):
            value = int(random.choice(EXTREMES)) % 256**width
            order = "little" if random.random() < 0.7 else "big"
            out[place : place + width] = value.to_bytes(width, order)
        elif kind == 4:
            out[place : place + width] = b""
        else:
            other = int(random.integers(0, len(out)))
            out[place : place + 16] = out[other : other + 16]
    if random.random() < 0.15:
        out = out[: int(random.integers(0, len(out) + 1))]
    return bytes(out)


def read(path: Path) -> None:
    """Everything that a reader of such a file may be asked."""
    axis, place = "z", 0 if path.suffix in (".nii", ".gz", ".nrrd") else None
    read_raster(path, "image", axis=axis, place=place)


def read_parts(path: Path) -> None:
    """The same by windows."""
    width, height = read_header(path).size
    read_window(path, Window(0, 0, min(width, 512), min(height, 512)), (16, 16))


def main(seed: int, count: int, folder: Path) -> None:
    """Read mutants until all are read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    (folder / "seeds").mkdir()
    known = seeds(folder / "seeds")
    random = np.random.default_rng(seed)
    told = {"read": 0, "refused": 0, "slowest": 0.0, "slowest_file": "", "wrong": []}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        name = list(known)[number % len(known)]
        path = folder / f"current{''.join(Path(name).suffixes)}"
        path.write_bytes(mutant(known[name], random, name.endswith(".gz")))
        before = time.perf_counter()
        for reader in (read, read_parts) if name.endswith(".tif") else (read,):
            try:
                reader(path)
                told["read"] += 1
            except InputError as error:
                told["refused"] += 1
                if (
                    "\n" in str(error)
                    or not str(error).startswith("image ")
                    or len(str(error)) > 600
                ):
                    told["wrong"].append(f"{name} {number}: {error}")
            except Exception as error:
                told["wrong"].append(f"{name} {number}: {type(error).__name__} {error}")
                (folder / f"wrong_{number}_{name}").write_bytes(path.read_bytes())
        seconds = time.perf_counter() - before
        if seconds > told["slowest"]:
            told |= {"slowest": seconds, "slowest_file": f"{name} {number}"}
        if "-v" in sys.argv and seconds > 0.5:
            print(name, number, seconds, file=sys.stderr)
            (folder / f"slow_{number}_{name}").write_bytes(path.read_bytes())
        path.unlink(missing_ok=True)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    print(json.dumps(told | {"grown_mb": grown // 1024}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
