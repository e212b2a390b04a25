"""From two images to a transform and an honest word on it: the whole pipeline on one page."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sdme.config import RegisterSettings
from sdme.frames import ImageSource, Pair, make_frame
from sdme.model.weights import DEFAULT_MODEL, load_network, usable_device
from sdme.result import Matches, Registration
from sdme.stages import Clock, Sparse, look, match_and_estimate, refine_best, verdict_on
from sdme.transform import Transform

Model = str | os.PathLike[str] | nn.Module


def register(
    fixed: ImageSource,
    moving: ImageSource,
    *,
    model: Model = DEFAULT_MODEL,
    settings: RegisterSettings | None = None,
    initial: Transform | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> Registration:
    """Find the transform from the fixed to the moving image.

    Images are paths or arrays ``(h, w)`` or ``(h, w, bands)``; ones larger than
    ``settings.max_side`` are shrunk for the network, and everything returned is in pixels of the
    originals. ``settings.stages`` says what runs: ``sparse`` matches keypoints, ``dense`` refines a
    guess on structure maps, ``sparse-to-dense`` refines what the matches gave, or a guess if they
    gave nothing. The guess is ``initial``; without one the fixed image is laid on the middle of
    the moving one, and if their sizes differ also stretched over it, and the better answer counts.

    ``model`` names shipped weights or a weights file, or is an :class:`SdmeNetwork`, which is then
    put in evaluation mode and used where it lies. ``device`` is ``auto`` (CUDA where there is any)
    or one that PyTorch knows. ``progress`` is called with the name of each stage as it begins.

    Raises:
        InputError: an image, the model, the device or ``initial`` cannot be used. Images that
            cannot be aligned are a result of status ``failed``, not an error.
    """
    settings = settings or RegisterSettings()
    clock = Clock(progress)
    sparse = dense = None
    with torch.inference_mode():
        with clock.stage("read"):
            network = _network(model, device)
            pair = Pair(
                make_frame(fixed, "fixed image", settings.max_side),
                make_frame(moving, "moving image", settings.max_side),
            )
            guesses = pair.guesses(initial)
        blank = [frame.name for frame in (pair.fixed, pair.moving) if frame.is_blank]
        if not blank:
            with clock.stage("extract"):
                views = look(network, pair.fixed, settings), look(network, pair.moving, settings)
            if settings.stages != "dense":
                sparse = match_and_estimate(pair, views, settings, clock)
            if settings.stages != "sparse":
                with clock.stage("refine"):
                    dense = refine_best(views, sparse, guesses, settings)
    verdict = verdict_on(pair, blank, sparse, dense, settings)
    return Registration(
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        transform=pair.transform(verdict.matrix),
        matches=_matches(pair, sparse),
        model=type(model).__name__ if isinstance(model, nn.Module) else str(model),
        fixed_size=pair.fixed.image_size,
        moving_size=pair.moving.image_size,
        sparse=pair.transform(sparse.answer) if sparse else None,
        dense=pair.transform(dense.answer) if dense and verdict.matrix is not None else None,
        residual_before=dense.residual_before if dense else None,
        residual_after=dense.residual_after if dense else None,
        timings=clock.seconds(),
        fixed_image=pair.fixed.image,
        moving_image=pair.moving.image,
        fixed_name="" if isinstance(fixed, np.ndarray) else str(fixed),
        moving_name="" if isinstance(moving, np.ndarray) else str(moving),
    )


def _matches(pair: Pair, sparse: Sparse | None) -> Matches:
    """The matches in pixels of the original images."""
    if sparse is None:
        return Matches(np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0, bool))
    points = pair.fixed.in_image(sparse.fixed), pair.moving.in_image(sparse.moving)
    return Matches(*points, sparse.score, sparse.inlier)


def _network(model: Model, device: str) -> nn.Module:
    if isinstance(model, nn.Module):
        return model.eval()
    usable = usable_device(device)
    return load_network(model if isinstance(model, str) else Path(model), usable)
