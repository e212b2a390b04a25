"""Settings of a registration, from keypoints to the verdict."""

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from sdme.config.base import LevelSteps, Settings

Interpolation = Literal["nearest", "bilinear", "cubic", "lanczos"]
Stages = Literal["sparse", "dense", "sparse-to-dense"]
Kind = Literal["translation", "euclidean", "similarity", "affine", "homography"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # each contains the ones before it
Search = Literal["off", "auto", "on"]
Tiles = Literal["off", "auto", "on"]
PAPER_SIDE = 640  # px; what networks of the preset paper are given unless another side is asked for
MAX_PIXELS = 400_000_000  # of an image that is read, and of a grid that is warped onto


class KeypointSettings(Settings):
    """Choice of keypoints on the repeatability map."""

    top_k: int = Field(default=1000, ge=4, description="at most this many keypoints an image")
    radius: int = Field(default=1, ge=1, description="a keypoint is the maximum of this window, px")
    border: int = Field(default=2, ge=0, description="no keypoint closer to the border than this")


class EstimateSettings(Settings):
    """Robust fit of a homography to matches (MAGSAC)."""

    threshold: float = Field(default=1.0, gt=0, description="inlier threshold in network pixels")
    confidence: float = Field(default=0.999, gt=0, lt=1)
    iterations: int = Field(default=10_000, ge=1)
    min_matches: int = Field(default=8, ge=4, description="fewer matches: the stage says so")
    min_inliers: int = Field(default=6, ge=4, description="fewer inliers: the stage says so")


class RefineSettings(Settings):
    """Inverse-compositional Lucas-Kanade."""

    iterations: int = Field(default=15, ge=0)
    tolerance: float = Field(
        default=1e-3, gt=0, description="a pair stops when no corner moves by more, px"
    )
    damping: float = Field(
        default=1e-6, ge=0, description="first Levenberg damping, share of diagonal"
    )
    max_gain: float = Field(
        default=8, ge=1, description="longest step over Gauss-Newton's; 1 is the paper's plain step"
    )
    weighted: bool = Field(
        default=True, description="repeatability weights the residuals; else all pixels count alike"
    )


class VerdictSettings(Settings):
    """What an answer must show to be believed. Pixels are those of the network's frames."""

    inlier_base: float = Field(
        default=8, ge=0, description="matches alone are believed with more inliers than"
    )
    inlier_share: float = Field(default=0.05, ge=0, le=1, description="base + share * matches")
    sure_factor: float = Field(
        default=2, ge=1, description="so many times the inliers needed make it aligned"
    )
    max_stretch: float = Field(
        default=6, gt=1, description="largest scale change, either way, at any corner"
    )
    min_overlap: float = Field(
        default=0.1, ge=0, le=1, description="least common share of the smaller image's area"
    )
    max_drift: float = Field(
        default=4, gt=0, description="refinement may move the median inlier off its match so far"
    )
    min_agreement: float = Field(
        default=0.3, ge=-1, le=1, description="least correlation of the maps after refinement"
    )
    chance_margin: float = Field(
        default=0.15,
        ge=0,
        description="above that of mirrored maps, or share of the way from there to 1 with matches",
    )


class FastRegisterSettings(Settings):
    """Registration with a network of the preset ``fast``; pixels are those of its frames.

    What the network says of its own error is told as if the fixed image had 128 px a side.
    """

    max_side: int = Field(
        default=512, ge=32, description="images are shrunk to this longer side for the network"
    )
    cells: int = Field(default=2048, ge=4, description="so many cells an image are matched at most")
    estimate: EstimateSettings = EstimateSettings(threshold=3)
    turns: int = Field(default=4, ge=0, description="of the votes at 1/8, for every candidate")
    fine_turns: int = Field(default=3, ge=0, description="of those at 1/4, if the network has them")
    survivors: int | None = Field(
        default=None,
        ge=1,
        description="so many candidates, the best, go on after two turns (faster); none: all",
    )
    refined: int = Field(
        default=1,
        ge=1,
        description="so many of the best candidates are refined, the others dropped",
    )
    steps: LevelSteps = Field(default=(8, 2, 0), description="of Lucas-Kanade at 1/2, 1/4 and 1/8")
    max_harm: float = Field(
        default=1,
        ge=0,
        description="refinement may raise the logarithm of the predicted error by so much",
    )
    aligned_below: float = Field(
        default=2, gt=0, description="predicted corner error of what is aligned, px of 128"
    )
    uncertain_below: float = Field(
        default=5, gt=0, description="the same of what is uncertain; beyond it has failed"
    )

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.uncertain_below < self.aligned_below:
            raise ValueError(
                f"uncertain_below {self.uncertain_below} is less than aligned_below "
                f"{self.aligned_below}; what is aligned has the smaller error"
            )
        return self


class SearchSettings(Settings):
    """Rotations and scales that are tried where the plain way does not lead to an aligned pair.

    Every one is a chance to be wrong, and the verdict has them pay for it.
    """

    rotations: int = Field(default=8, ge=1, description="of the whole circle, evenly spread")
    scales: tuple[tuple[float, ...], ...] = Field(
        default=((1.0,), (0.5, 2.0), (0.25, 4.0)),
        min_length=1,
        description="how many times as long as in the fixed image the scene in the moving one is; "
        "in rounds, of which the later ones follow where the earlier ones have no clear winner",
    )
    side: int = Field(default=128, ge=32, description="mean side, px, of the images while trying")
    cells: int = Field(default=1024, ge=4, description="so many cells an image are matched at most")
    shortlist: int = Field(default=4, ge=1, description="so many are looked at a second time")
    clear_ratio: float = Field(
        default=2,
        ge=1,
        description="a winner is clear, and may be called aligned, with so many times the inliers "
        "of the best that disagrees",
    )
    least_ratio: float = Field(default=1.75, ge=1, description="with less the winner is no answer")
    inlier_factor: float = Field(
        default=2, ge=1, description="so many times the matches that may agree by chance"
    )
    uncertain_factor: float = Field(
        default=1.5, ge=1, description="a clear winner's predicted error may be so much larger"
    )

    @model_validator(mode="after")
    def _check_ratios(self) -> Self:
        if self.clear_ratio < self.least_ratio:
            raise ValueError(
                f"clear_ratio {self.clear_ratio} is less than least_ratio {self.least_ratio}"
            )
        return self


class TileSettings(Settings):
    """Large images: a coarse answer from reduced copies, made better on tiles of the originals."""

    beyond: int = Field(
        default=100_000_000, ge=1, description="pixels of an image beyond which tiles are used"
    )
    coarse_side: int = Field(
        default=1024, ge=64, description="images are reduced to this longer side for the beginning"
    )
    side: int = Field(default=512, ge=64, description="of a tile, px of the network's frames")
    most: int = Field(
        default=6, ge=2, description="so many tiles along a side at most, evenly spread"
    )
    step: float = Field(
        default=4, gt=1, description="each level is so many times as fine as the one before"
    )
    block: int = Field(default=1024, ge=64, description="px a side of what is warped at once")


class RegisterSettings(Settings):
    """The whole pipeline; ``keypoints`` to ``refine`` are for the preset ``paper``."""

    stages: Stages = "sparse-to-dense"
    transform: Kind = Field(
        default="homography", description="the family that the answer is looked for in"
    )
    simplest: bool = Field(
        default=False,
        description="the smallest kind that the matches do not speak against, up to that family",
    )
    max_side: int | None = Field(
        default=None,
        ge=32,
        description="images are shrunk to this longer side for the network; none: what suits it",
    )
    keypoints: KeypointSettings = KeypointSettings()
    estimate: EstimateSettings = EstimateSettings()
    refine: RefineSettings = RefineSettings()
    verdict: VerdictSettings = VerdictSettings()
    fast: FastRegisterSettings = FastRegisterSettings()
    search: Search = Field(
        default="auto",
        description="rotation and scale as hypotheses: never, where the plain try does not end "
        "aligned, or always",
    )
    hypotheses: SearchSettings = SearchSettings()
    tiles: TileSettings = TileSettings()
