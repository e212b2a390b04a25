"""Where the two images of a transform lie, kept in the transform file beside the transform.

A georeference or the plane of a slice, so that whatever is carried over later can be stored in its
place. Readers of the transform alone ignore it.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdme.errors import InputError
from sdme.io.georeference import Georeference
from sdme.io.raster import Plane, Raster

KEY = "places"
_SUFFIXES = (".nii.gz", ".nii", ".nrrd")
Place = Georeference | Plane


@dataclass(frozen=True)
class Places:
    """Places of the fixed and the moving image; ``None`` where nothing is known."""

    fixed: Place | None = None
    moving: Place | None = None

    @classmethod
    def of(cls, fixed: Raster, moving: Raster) -> "Places":
        """Those of two images."""
        return cls(fixed.georeference or fixed.plane, moving.georeference or moving.plane)

    def to_dict(self) -> dict[str, Any]:
        """What a transform file has besides the transform; empty where nothing is known."""
        found = {
            name: _stored(place)
            for name, place in (("fixed", self.fixed), ("moving", self.moving))
            if place is not None
        }
        return {KEY: found} if found else {}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Places":
        """Those of a transform file; nothing of one that has none, or of another program's file.

        Raises:
            InputError: what is stored cannot be used.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return cls()
        found = content.get(KEY) if isinstance(content, dict) else None
        if found is None:
            return cls()
        if not isinstance(found, dict):
            raise InputError(f'{path}: "{KEY}" is no object; write the file again')
        try:
            return cls(*(_read(found.get(name)) for name in ("fixed", "moving")))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def _stored(place: Place) -> dict[str, Any]:
    if isinstance(place, Georeference):
        return place.to_dict()
    return {
        "spacing": list(place.spacing),
        "origin": list(place.origin),
        "direction": place.direction.tolist(),
        "format": place.suffix,
    }


def _read(data: Any) -> Place | None:
    if data is None:
        return None
    if not isinstance(data, dict) or "spacing" not in data:
        return Georeference.from_dict(data)
    try:
        spacing, origin = (tuple(float(v) for v in data[key]) for key in ("spacing", "origin"))
        direction = np.array(data["direction"], dtype=np.float64)
        suffix = data["format"]
    except (KeyError, TypeError, ValueError):
        raise InputError("the plane of a slice is incomplete; write the file again") from None
    numbers = [*spacing, *origin, *direction.ravel()]
    whole = len(spacing) == len(origin) == 3 and direction.shape == (3, 3)
    if not whole or not all(map(math.isfinite, numbers)) or min(spacing) <= 0:
        raise InputError("the plane of a slice has wrong numbers; write the file again")
    if suffix not in _SUFFIXES:
        raise InputError(f"the plane of a slice has the format {suffix!r}; use {list(_SUFFIXES)}")
    return Plane(spacing, origin, direction, suffix)  # type: ignore[arg-type]
