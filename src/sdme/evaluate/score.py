"""The record of one method's stage on one case: what is stored, and what every table is made of."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class MatchingScore:
    """How good the matches of a method are, apart from the transform fitted to them.

    ``keypoints`` counts those of the fixed image. ``accuracy[k]`` is the share of matches within
    k px of the truth, k = 1 .. 10; its mean over the cases of a set is the mean matching accuracy
    (MMA). ``inlier_ratio`` is the share of the matches that the robust fit kept. Both are 0 without
    matches (Dusmanu et al., "D2-Net", 2019, evaluate so, too), so that a method gains nothing by
    silence. ``inlier_precision`` is the share of the kept matches within 3 px of the truth.
    ``repeatability`` is the share of the fixed keypoints that lie in the moving image with a moving
    keypoint within 3 px of where the truth sends them. Other shares without a denominator, and
    those that need a truth which landmarks do not give, are NaN.
    """

    keypoints: int
    matches: int
    accuracy: dict[int, float]
    inlier_ratio: float
    inlier_precision: float
    repeatability: float


@dataclass(frozen=True)
class ConvergenceScore:
    """Where refinement alone ends, as corner errors in moving pixels; infinite for nowhere.

    ``drift`` is that after a start at the truth, ``reached[k]`` that after one whose corners are
    ``k`` px off.
    """

    drift: float
    reached: dict[int, float]


@dataclass(frozen=True)
class Score:
    """How far off one stage of one method is on one case.

    ``error`` is the corner error (ACE) in moving pixels, or the mean landmark distance where the
    truth is landmarks (``measure`` says which: ``corners`` or ``landmarks``); infinite for a
    failure. ``final_error`` is that of the method's last stage, ``unregistered_error`` that of the
    initial placement. ``seconds`` is the time to this stage's answer; NaN where the method does
    not tell it. ``memory`` is the peak resident memory of the process in MiB so far, ``verdict``
    the method's own word. ``note`` says why a method crashed, hung or was refused; ``remark`` why
    the convergence of a good answer is not known, given with the last stage only. ``matching`` is
    given with the first stage only, ``convergence`` with the last one, for methods whose refinement
    can be started anywhere. ``matrix`` is this stage's estimate, nine numbers row by row,
    so that pictures need no second run; ``score_result`` fills it, ``None`` for no answer.
    """

    method: str
    stage: str
    is_final: bool
    dataset: str
    group: str
    pair: str
    index: int
    fixed_side: str
    measure: str
    error: float
    final_error: float
    unregistered_error: float
    seconds: float
    memory: float
    verdict: str = ""
    note: str = ""
    redraws: int = 0
    size: tuple[int, int] = field(default=(0, 0))
    matching: MatchingScore | None = None
    matrix: tuple[float, ...] | None = None
    convergence: ConvergenceScore | None = None
    remark: str = ""

    @property
    def case(self) -> str:
        """The name of the case, unique within an evaluation."""
        return f"{self.dataset}/{self.pair}#{self.index}"
