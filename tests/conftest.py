"""Shapes are checked at run time; packs and registrations made by hand, known in advance."""

import io
import os
import socket
import subprocess
import sys
import tarfile

import cv2
import jaxtyping
import numpy as np
import pytest

jaxtyping.install_import_hook(
    ["sdme.geometry", "sdme.losses", "sdme.model", "sdme.refine"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

from sdme import Matches, Reason, Registration, Status, Transform  # noqa: E402
from sdme.io.read import as_raster  # noqa: E402

MATRIX = np.array([[0.98, -0.05, 12.0], [0.04, 1.01, -6.0], [1e-5, 2e-5, 1.0]])


def _pattern(height, width, seed):
    """Smooth blobs, 8-bit."""
    grid = np.random.default_rng(seed).random((height // 8 + 2, width // 8 + 2))
    rows = np.repeat(np.repeat(grid, 8, axis=0), 8, axis=1)[:height, :width]
    return (rows * 255).astype(np.uint8)


@pytest.fixture
def handmade():
    """Build a registration of a 120x90 px fixed with a 130x100 px moving image."""

    def build(status=Status.ALIGNED, moving=None, **changes):
        fixed = np.stack([_pattern(90, 120, seed) for seed in range(3)], axis=-1)
        moving = _pattern(100, 130, 9) if moving is None else moving
        transform = Transform(MATRIX, (120, 90), moving.shape[1::-1])
        points = np.random.default_rng(1).random((60, 2)) * (100, 70) + 5
        inlier = np.arange(60) < (0 if status is Status.FAILED else 40)
        for name, default in (("fixed", fixed), ("moving", moving)):
            image = changes.pop(f"{name}_image", default)
            is_array = isinstance(image, np.ndarray)
            changes.setdefault(f"{name}_raster", as_raster(image) if is_array else image)
        return Registration(
            **{
                "status": status,
                "reason": {"aligned": Reason.NONE, "uncertain": Reason.LOW_OVERLAP}.get(
                    status.value, Reason.TOO_FEW_INLIERS
                ),
                "message": f"made by hand to be {status.value}",
                "transform": None if status is Status.FAILED else transform,
                "matches": Matches(points, transform.apply(points), np.ones(60), inlier),
                "model": "handmade",
                "fixed_size": (120, 90),
                "moving_size": moving.shape[1::-1],
                "timings": {"extract": 0.25, "match": 0.05, "total": 0.3},
            }
            | changes
        )

    return build


@pytest.fixture
def write_pack():
    """Write a plain tar of named members: RGB arrays, encoded by their suffix, or bytes."""

    def write(path, members):
        with tarfile.open(path, "w") as archive:
            for name, content in reversed(members.items()):
                data = content
                if not isinstance(content, bytes):
                    _, array = cv2.imencode(f".{name.rpartition('.')[2]}", content[..., ::-1])
                    data = array.tobytes()
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def launched():
    """Run a file of tests as the script of several processes that find each other."""

    def run(file, *arguments, processes=2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        children = [
            subprocess.Popen(
                [sys.executable, str(file), *map(str, arguments)],
                env=os.environ | place | {"RANK": str(rank), "WORLD_SIZE": str(processes)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
        try:
            errors = [child.communicate(timeout=120)[1] for child in children]
        finally:
            for child in children:
                child.kill()
        assert [child.returncode for child in children] == [0] * processes, errors

    return run
