"""Sparse-to-dense registration of images from different sensors.

    import sdme

    result = sdme.register("thermal.tif", "visible.png")
    result.save("out")

``result.status`` says honestly whether it worked; ``result.transform`` maps fixed to moving pixels.

Map of the modules, from the door to the core:

- :mod:`sdme.cli`: the command ``sdme``, one file a command
- :mod:`sdme.register`: the whole pipeline on one page
- :mod:`sdme.refinement`: someone else's transform, made better
- :mod:`sdme.result`: what it returns, and :meth:`Registration.save`
- :mod:`sdme.stages`, :mod:`sdme.verdict`: its stages with a network of the preset ``paper``, and
  whether the answer can be trusted
- :mod:`sdme.fast_stages`, :mod:`sdme.fast_verdict`: the same with one of the preset ``fast``
- :mod:`sdme.report`: pictures and the HTML page
- :mod:`sdme.match`, :mod:`sdme.estimate`, :mod:`sdme.refine`: what the stages are made of
- :mod:`sdme.model`: the networks of both presets, keypoints and the shipped weights
- :mod:`sdme.io`: images of all formats with what their files say, places, tables of points
- :mod:`sdme.exchange`: transforms in the files of other programs
- :mod:`sdme.transform`, :mod:`sdme.geometry`: transforms as values, homography algebra
- :mod:`sdme.losses`, :mod:`sdme.data`, :mod:`sdme.train`, :mod:`sdme.evaluate`: learning and
  measuring
- :mod:`sdme.config`, :mod:`sdme.errors`, :mod:`sdme.files`: settings, exceptions, whole files

The names below are loaded on first use, so that ``import sdme`` is immediate.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdme.config import RegisterSettings, ViewSettings
    from sdme.errors import InputError, SdmeError
    from sdme.exchange.formats import export_transform, read_transform
    from sdme.io.image import read_image, write_image
    from sdme.io.raster import Raster
    from sdme.io.read import read_raster
    from sdme.io.write import write_raster
    from sdme.model.weights import load_network
    from sdme.model.weights import records as models
    from sdme.refinement import refine_transform
    from sdme.register import register
    from sdme.result import Matches, Reason, Registration, Status
    from sdme.transform import Transform

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "Matches",
    "Raster",
    "Reason",
    "RegisterSettings",
    "Registration",
    "SdmeError",
    "Status",
    "Transform",
    "ViewSettings",
    "export_transform",
    "load_network",
    "models",
    "read_image",
    "read_raster",
    "read_transform",
    "refine_transform",
    "register",
    "write_image",
    "write_raster",
]

_HOMES = {
    "InputError": "sdme.errors",
    "Matches": "sdme.result",
    "Raster": "sdme.io.raster",
    "Reason": "sdme.result",
    "RegisterSettings": "sdme.config",
    "Registration": "sdme.result",
    "SdmeError": "sdme.errors",
    "Status": "sdme.result",
    "Transform": "sdme.transform",
    "ViewSettings": "sdme.config",
    "export_transform": "sdme.exchange.formats",
    "load_network": "sdme.model.weights",
    "models": "sdme.model.weights:records",
    "read_image": "sdme.io.image",
    "read_raster": "sdme.io.read",
    "read_transform": "sdme.exchange.formats",
    "refine_transform": "sdme.refinement",
    "write_image": "sdme.io.image",
    "write_raster": "sdme.io.write",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sdme' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps ``sdme.register`` the function: loading the module of that name would replace it."""

    @property
    def register(self) -> Any:
        return import_module("sdme.register").register

    @register.setter
    def register(self, module: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
