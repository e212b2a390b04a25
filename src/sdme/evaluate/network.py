"""The package's own method on evaluation cases, in batches, with every stage's answer kept."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sdme.config import RegisterSettings
from sdme.estimate import estimate_homography
from sdme.evaluate.answers import OUR_STAGES, Matrix, Outcome
from sdme.evaluate.protocol import Case
from sdme.geometry.homography import centred_placement
from sdme.match import mutual_nearest_neighbours
from sdme.model.keypoints import detect_keypoints, gather_descriptors
from sdme.model.network import Features, SdmeNetwork
from sdme.refine.lucas_kanade import refine


def evaluate_network(
    network: SdmeNetwork,
    cases: Sequence[Case],
    device: str | torch.device = "cpu",
    batch: int = 32,
    settings: RegisterSettings | None = None,
) -> Iterator[Outcome]:
    """Stages ``sparse``, ``sparse-to-dense`` and ``dense-only`` of each case, in their order.

    All cases must have patches of the same sizes. Where sparse matching gives nothing, its stage
    is ``None`` and dense refinement starts from the centred placement, as in a registration.
    ``seconds`` is the batch's time shared evenly, and covers all three stages.
    """
    settings = settings or RegisterSettings()
    network = network.to(device).eval()
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(cases), batch):
            began = time.perf_counter()
            chunk = cases[first : first + batch]
            stages = _run_batch(network, chunk, torch.device(device), settings, pool)
            share = (time.perf_counter() - began) / len(chunk)
            for answers in zip(*stages, strict=True):
                yield Outcome(dict(zip(OUR_STAGES, answers, strict=True)), share)


@torch.no_grad()
def _run_batch(
    network: SdmeNetwork,
    cases: Sequence[Case],
    device: torch.device,
    settings: RegisterSettings,
    pool: Executor,
) -> tuple[list[Matrix | None], list[Matrix | None], list[Matrix | None]]:
    fixed = network(_stack([case.fixed for case in cases], device))
    moving = network(_stack([case.moving for case in cases], device))
    sparse = _sparse(fixed, moving, settings, pool)
    centred = centred_placement(cases[0].fixed.shape[1::-1], cases[0].moving.shape[1::-1])
    start = [centred if H is None else torch.from_numpy(H).float() for H in sparse]
    maps = fixed.structure, moving.structure
    weights = fixed.repeatability, moving.repeatability

    def refined(initial: list[Tensor]) -> list[Matrix | None]:
        outcome = refine(*maps, torch.stack(initial).to(device), *weights, settings.refine)
        return list(outcome.matrix.double().cpu().numpy())

    return sparse, refined(start), refined([centred] * len(cases))


def _sparse(
    fixed: Features, moving: Features, settings: RegisterSettings, pool: Executor
) -> list[Matrix | None]:
    """Keypoints and matches on the device pair by pair, robust fits in threads beside it."""
    jobs = []
    for index in range(len(fixed.repeatability)):
        points0, points1 = _matched_points(fixed, moving, index, settings)
        jobs.append(pool.submit(estimate_homography, points0, points1, settings.estimate))
    return [job.result().matrix for job in jobs]


def _matched_points(
    fixed: Features, moving: Features, index: int, settings: RegisterSettings
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """Mutually nearest keypoints of one pair of the batch, fixed and moving."""
    points, descriptors = [], []
    for features in (fixed, moving):
        keypoints = detect_keypoints(features.repeatability[index], settings.keypoints)
        points.append(keypoints.points)
        descriptors.append(gather_descriptors(features.descriptors[index], keypoints.points))
    pairs = mutual_nearest_neighbours(*descriptors)
    chosen = torch.stack([points[0][pairs.indices0], points[1][pairs.indices1]]).cpu().numpy()
    return chosen[0], chosen[1]


def _stack(images: Sequence[np.ndarray], device: torch.device) -> Float[Tensor, "b 3 h w"]:
    batch = torch.from_numpy(np.stack(images)).to(device)
    return batch.permute(0, 3, 1, 2).float() / 255
