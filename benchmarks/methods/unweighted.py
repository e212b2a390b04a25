"""Our stages without repeatability as weight of the refinement, for `sdme compare`.

::

    MODEL=RUN/weights.safetensors sdme compare PAIRS --methods benchmarks/methods/unweighted.py

``MODEL`` is the name of a model or the path of its weights.
"""

import os
from functools import cache

import torch

from sdme.config import RefineSettings, RegisterSettings
from sdme.evaluate.method import Image, Matrix, Method, MethodResult
from sdme.evaluate.methods.ours import network_method
from sdme.model.weights import load_network


@cache
def _method() -> Method:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    settings = RegisterSettings(refine=RefineSettings(weighted=False))
    return network_method(load_network(os.environ["MODEL"], device), settings)


def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
    """All stages, with one weight for all pixels."""
    return _method()(fixed, moving, initial)
