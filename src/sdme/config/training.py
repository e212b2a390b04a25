"""Settings of training runs: data, losses and the optimiser."""

from typing import Literal, Self

from pydantic import Field, model_validator

from sdme.config.base import LevelSteps, Settings
from sdme.config.network import AnyNetworkSettings, NetworkSettings


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
    turns: int = Field(default=3, ge=1, description="of the votes at 1/8")
    fine_turns: int = Field(default=3, ge=1, description="of those at 1/4")
    steps: LevelSteps = Field(default=(3, 3, 3), description="of Lucas-Kanade at 1/2, 1/4 and 1/8")
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
        default=12, ge=0, description="the same for the start of votes at 1/4 and of Lucas-Kanade"
    )
    centred: float = Field(
        default=0.5, ge=0, le=1, description="share of first guesses in the middle of the image"
    )
    voted: float = Field(
        default=0.45, ge=0, le=1, description="share of these starts from the stage before"
    )
    at_truth: float = Field(
        default=0.15, ge=0, le=1, description="share of these starts at the truth"
    )
    strangers: float = Field(
        default=0.04,
        ge=0,
        le=1,
        description="share of pairs of different scenes, for the judgement",
    )

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.at_truth + self.voted > 1 + 1e-9:
            raise ValueError(
                f"at_truth {self.at_truth} and voted {self.voted} are shares of the same starts; "
                "their sum is at most 1"
            )
        return self


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
    gradient_clip: float = Field(
        default=1.0,
        gt=0,
        description="norm of each part's gradient at most; usual norms are above 1, so that in "
        "effect the gradient is scaled to it",
    )
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
