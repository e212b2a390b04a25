"""Settings of every stage, frozen, with the paper's values as defaults; unknown keys are errors."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Interpolation = Literal["nearest", "bilinear", "cubic", "lanczos"]
Stages = Literal["sparse", "dense", "sparse-to-dense"]
PAPER_SIDE = 640  # px; what networks of the preset paper are given unless another side is asked for
MAX_PIXELS = 400_000_000  # of an image that is read, and of a grid that is warped onto


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSettings(Settings):
    """The two-task network (paper, section 3.1); the defaults are the preset ``paper``."""

    preset: Literal["paper"] = "paper"
    descriptor_channels: int = Field(default=128, ge=2)
    agents: int = Field(default=32, ge=2, description="number of learned agents")
    agent_heads: int = Field(default=8, ge=1, description="a divisor of descriptor_channels")
    use_agents: bool = Field(default=True, description="False drops the agent block (ablation)")

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.descriptor_channels % self.agent_heads:
            raise ValueError(
                f"{self.descriptor_channels} descriptor_channels cannot be shared by "
                f"{self.agent_heads} agent_heads; give a divisor"
            )
        return self


class FastSettings(Settings):
    """The strided network of the preset ``fast``."""

    preset: Literal["fast"] = "fast"
    channels: tuple[int, int, int, int] = Field(
        default=(16, 32, 64, 128), description="at 1/2, 1/4, 1/8, 1/16, multiples of 8"
    )
    depths: tuple[int, int, int, int] = Field(
        default=(0, 2, 3, 3), description="residual blocks at these scales on the way down"
    )
    attention: int = Field(default=2, ge=0, description="self and cross attention layers at 1/16")
    heads: int = Field(default=4, ge=1, description="a divisor of the channels at 1/16")
    descriptor_channels: int = Field(default=64, ge=8, description="of the cells at 1/4")
    correlation_channels: int = Field(default=64, ge=8, description="of the cells at 1/8")
    context_channels: int = Field(default=32, ge=8, description="of the cells at 1/8")
    level_channels: tuple[int, int, int] = Field(
        default=(8, 16, 24), description="of the maps for alignment at 1/2, 1/4, 1/8"
    )
    aggregator_channels: int = Field(default=64, ge=8, description="a multiple of 8")
    aggregator_depth: int = Field(default=3, ge=1, description="residual blocks")
    radius: int = Field(default=3, ge=1, description="of the correlation windows, cells")
    scales: int = Field(default=2, ge=1, description="of the correlation windows, each twice")


def _preset_of(settings: Any) -> str | None:
    """The preset that settings, or a table of them, are for; without a word it is the paper's."""
    if isinstance(settings, dict):
        settings = settings.get("preset", "paper")
    else:
        settings = getattr(settings, "preset", "paper")
    return settings if isinstance(settings, str) else None


AnyNetworkSettings = Annotated[
    Annotated[NetworkSettings, Tag("paper")] | Annotated[FastSettings, Tag("fast")],
    Discriminator(
        _preset_of,
        custom_error_type="preset",
        custom_error_message="preset should be 'paper' or 'fast'",
    ),
]
"""Settings of a network of either preset; tables that name none are the paper's."""


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
    turns: int = Field(default=4, ge=0, description="of the votes, for every candidate")
    survivors: int | None = Field(
        default=None,
        ge=1,
        description="so many candidates, the best, go on after two turns (faster); none: all",
    )
    refined: int = Field(default=1, ge=1, description="so many of the best candidates are refined")
    steps: tuple[int, int, int] = Field(
        default=(8, 5, 4), description="of Lucas-Kanade at 1/2, 1/4 and 1/8"
    )
    max_harm: float = Field(
        default=0.25,
        ge=0,
        description="refinement may raise the logarithm of the predicted error by so much",
    )
    aligned_below: float = Field(
        default=3, gt=0, description="predicted corner error of what is aligned, px of 128"
    )
    uncertain_below: float = Field(
        default=10, gt=0, description="the same of what is uncertain; beyond it has failed"
    )

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.uncertain_below < self.aligned_below:
            raise ValueError(
                f"uncertain_below {self.uncertain_below} is less than aligned_below "
                f"{self.aligned_below}; what is aligned has the smaller error"
            )
        return self


class RegisterSettings(Settings):
    """The whole pipeline; ``keypoints`` to ``refine`` are for the preset ``paper``."""

    stages: Stages = "sparse-to-dense"
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


class DataSettings(Settings):
    """Training pairs cut from pictures, in the sizes of the paper's protocol."""

    datasets: tuple[str, ...] = Field(
        default=(), description="names of the sets that are used; none: all that are given"
    )
    pair_fraction: float = Field(
        default=1.0, gt=0, le=1, description="share of each set of pairs that is used"
    )
    fixed_side: int = Field(default=128, ge=40, description="side of the fixed crops, px")
    moving_side: int = Field(default=192, ge=40, description="side of the moving crops, px")
    max_shift: float = Field(default=32, ge=0, description="largest shift of a corner in x and y")
    shift_power: float = Field(
        default=0.4, ge=0, description="a pair's shifts are scaled by u ** power, u in [0, 1]"
    )
    stored_side: int = Field(default=320, ge=32, description="side of the stored squares, px")
    smallest_scale: float = Field(default=0.6, gt=0, description="stored px a crop px, at least")
    rotation: float = Field(default=10, ge=0, description="crops are turned by up to this, degrees")
    turned_share: float = Field(
        default=0, ge=0, le=1, description="share of pairs whose images are turned and scaled"
    )
    turn: float = Field(default=30, ge=0, le=180, description="by up to this, degrees")
    zoom: float = Field(default=1.4, ge=1, description="and by up to this factor, either way")
    pair_share: float = Field(default=0.6, ge=0, le=1, description="share of real pairs in a batch")
    photo_synthesis: float = Field(
        default=0.8, ge=0, le=1, description="share of photos of which one side is re-rendered"
    )
    pair_synthesis: float = Field(
        default=0.15, ge=0, le=1, description="the same for every other image"
    )
    renderings: dict[str, float] = Field(
        default={}, description="shares of the renderings (docs/synthesis.md); none: all"
    )
    degradation: float = Field(
        default=1.0, ge=0, le=1, description="share of images that are blurred, shaded, made noisy"
    )
    device_gib: float = Field(
        default=8,
        gt=0,
        allow_inf_nan=False,
        description="memory of the device for pictures; more of them take turns",
    )
    refresh_every: int = Field(default=500, ge=1, description="steps between two such turns")

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        if self.moving_side < self.fixed_side:
            raise ValueError(
                f"moving_side {self.moving_side} is less than fixed_side {self.fixed_side}; the "
                "moving crop has to hold the fixed one"
            )
        return self


class LossSettings(Settings):
    """Weights of the losses, 0 switching one off, and how the tasks are balanced (section 3.3)."""

    average_precision: float = Field(default=1, ge=0)
    repeatability: float = Field(default=5, ge=0)
    peakiness: float = Field(default=1, ge=0)
    guidance: float = Field(default=0.008, ge=0)
    agents: float = Field(default=1, ge=0)
    brightness: float = Field(default=1, ge=0)
    convexity: float = Field(
        default=1, ge=0, description="at 1 a structure map trained from scratch goes flat"
    )
    unit_weights: bool = Field(
        default=False, description="alignment weights are scaled to a mean of 1 a pair"
    )
    weighted_alignment: bool = Field(
        default=True, description="repeatability weights the alignment losses"
    )
    matching_share: float | None = Field(
        default=None, ge=0, le=1, description="fixed share of the matching task; none: MGDA-UB"
    )


class FastLossSettings(Settings):
    """Weights of the losses of the preset ``fast``, 0 switching one off, and what they look at."""

    matching: float = Field(default=0.4, ge=0)
    score: float = Field(default=0.1, ge=0)
    correlation: float = Field(default=0.3, ge=0)
    votes: float = Field(default=1.0, ge=0)
    flow: float = Field(default=0.3, ge=0)
    alignment: float = Field(default=0.8, ge=0)
    judgement: float = Field(default=0.15, ge=0)
    turns: int = Field(default=3, ge=1, description="of the aggregator")
    steps: tuple[int, int, int] = Field(
        default=(3, 3, 3), description="of Lucas-Kanade at 1/2, 1/4 and 1/8"
    )
    fading: float = Field(
        default=0.85, gt=0, le=1, description="weight of an iterate's error over the next one's"
    )
    knee: float = Field(
        default=0.5, gt=0, description="px; errors far below it are not worth improving"
    )
    guess_shift: float = Field(
        default=24, ge=0, description="corners of a wrong first guess are off by up to this, px"
    )
    start_shift: float = Field(
        default=12, ge=0, description="the same for the start of Lucas-Kanade"
    )
    centred: float = Field(
        default=0.5, ge=0, le=1, description="share of first guesses in the middle of the image"
    )
    voted: float = Field(
        default=0.45, ge=0, le=1, description="share of Lucas-Kanade's starts from the votes"
    )
    true: float = Field(default=0.15, ge=0, le=1, description="share of them at the truth")
    strangers: float = Field(
        default=0.04,
        ge=0,
        le=1,
        description="share of pairs of different scenes, for the judgement",
    )


class TrainSettings(Settings):
    """One training run; the defaults of the optimiser are the paper's."""

    network: AnyNetworkSettings = NetworkSettings()
    data: DataSettings = DataSettings()
    losses: LossSettings = Field(default=LossSettings(), description="of the preset paper")
    fast: FastLossSettings = Field(default=FastLossSettings(), description="the preset fast's")
    start: str | None = Field(
        default=None, description="model or weights file to begin with; none: from scratch"
    )
    steps: int | None = Field(
        default=None, ge=1, description="none: as many as fit into the run's time limit"
    )
    batch: int = Field(default=8, ge=1, description="pairs a step, over all processes")
    streams: int | None = Field(
        default=None,
        ge=1,
        description="independent random streams that a step's pairs come from, a multiple of the "
        "number of processes; none: one a process",
    )
    learning_rate: float = Field(default=1e-4, gt=0, description="peak; cosine down to zero")
    easy_steps: int = Field(
        default=0, ge=0, description="real pairs and other modalities come in over so many steps"
    )
    chunk: int = Field(default=4, ge=1, description="steps whose batches are made at once")
    warmup: int = Field(default=500, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(default=5e-4, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0, description="norm of each part at most")
    frozen_from: float = Field(
        default=1.0, ge=0, le=1, description="batch statistics stand still from this share of steps"
    )
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16", description="of the network on CUDA; always float32 on a CPU"
    )
    compile: bool = Field(default=True, description="torch.compile on CUDA")
    seed: int = Field(default=0, ge=0)
    log_every: int = Field(default=200, ge=1, description="steps")
    validation_pairs: int = Field(default=256, ge=1, description="held-out crops")
    validate_every: int = Field(default=2000, ge=1, description="steps")
    checkpoint_every: int = Field(default=2000, ge=1, description="steps")
