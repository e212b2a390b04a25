"""Mutual information: an affine map by SimpleITK, then a homography by moving its four corners.

SimpleITK has the measure of Mattes (2003) and no projective transform. So its answer, the stage
``affine``, is where a search begins that moves the four corners of the fixed image about in the
moving one, by the same measure and its gradient, and SciPy's L-BFGS-B.
"""

import os
import time
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from sdme.evaluate.method import Image, Matrix, Method, MethodResult
from sdme.evaluate.methods.mattes_measure import MattesMeasure

Grey = UInt8[np.ndarray, "h w"]

_BINS = 32
_STEP, _LEAST_STEP, _RELAXATION = 4.0, 1e-3, 0.6
_ITERATIONS = 100
_SEARCHED_SIDES = (32, 64, 128, 256)
_SEARCH_STEPS, _SEARCH_GAIN = 30, 1e-4


def build_mutual_information(device: str) -> Method:
    """Mutual information of grey values, coarse to fine from the initial placement."""
    import scipy.optimize
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    def register(fixed: Image, moving: Image, initial: Matrix) -> MethodResult:
        started = time.perf_counter()
        greys = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (fixed, moving)]
        if min(np.ptp(grey) for grey in greys) == 0:
            return MethodResult({"affine": None, "homography": None})
        affine = _affine(sitk, greys[0], greys[1], initial)
        seconds = {"affine": time.perf_counter() - started}
        homography = _homography(scipy.optimize.minimize, greys, affine, initial)
        seconds["homography"] = time.perf_counter() - started
        return MethodResult({"affine": affine, "homography": homography}, seconds=seconds)

    return register


def _affine(sitk: Any, fixed: Grey, moving: Grey, initial: Matrix) -> Matrix | None:
    """``None`` where the images come to lie beside each other.

    With spacing 1 and origin 0, as here, points of SimpleITK are pixels, centres at integers, and
    its transforms map fixed to moving points.
    """
    images = [sitk.GetImageFromArray(image.astype(np.float32)) for image in (fixed, moving)]
    transform = sitk.AffineTransform(2)
    centre = (np.array(fixed.shape[::-1]) - 1) / 2
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(initial[:2, :2].ravel().tolist())
    transform.SetTranslation((initial[:2, :2] @ centre + initial[:2, 2] - centre).tolist())

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(_STEP, _LEAST_STEP, _ITERATIONS, _RELAXATION)
    method.SetOptimizerScalesFromPhysicalShift()
    shrink = [8, 4, 2] if max(fixed.shape) < 512 else [16, 8, 4]
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel([factor / 2 for factor in shrink])
    method.SetInitialTransform(transform, True)
    try:
        method.Execute(*images)
    except RuntimeError:
        return None
    linear = np.array(transform.GetMatrix()).reshape(2, 2)
    H = np.eye(3)
    H[:2, :2] = linear
    H[:2, 2] = np.array(transform.GetTranslation()) + centre - linear @ centre
    return H


def _homography(
    minimize: Any, greys: list[Grey], affine: Matrix | None, initial: Matrix
) -> Matrix | None:
    """Coarse to fine, from the better one of the affine map and the initial placement."""
    sides = [side for side in _SEARCHED_SIDES if side <= max(_SEARCHED_SIDES[0], *greys[0].shape)]
    measures = [MattesMeasure(greys[0], greys[1], side) for side in sides]
    starts = [H for H in (affine, initial) if H is not None]
    H = max(starts, key=measures[0].value)
    for measure in measures:
        quad = measure.moved_corners(H)
        found = minimize(
            measure.loss_and_gradient,
            quad.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _SEARCH_STEPS, "ftol": _SEARCH_GAIN},
        )
        H = measure.homography(found.x.reshape(4, 2))
    return H / H[2, 2] if measures[-1].value(H) > 0 else None
