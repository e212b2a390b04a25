"""The report: one HTML file with everything inside, for a person who judges the result."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import jinja2
import numpy as np

from sdme.io.image import encode_image
from sdme.report.overlay import Picture

if TYPE_CHECKING:
    from sdme.result import Registration
    from sdme.transform import Transform

HEADINGS = {
    "aligned": ("✓", "Aligned"),
    "uncertain": ("!", "Possibly aligned: please check"),
    "failed": ("×", "Could not be aligned"),
}
_CHECK = "Compare the images with the slider before you rely on it."
EXPLANATIONS: dict[str, dict[str, str]] = {
    "aligned": {"none": ""},
    "uncertain": {
        "too_few_keypoints": "Too few distinct places were found to match, so this rests on fine "
        f"alignment from a guess alone. {_CHECK}",
        "too_few_matches": "Too few places of the one image were recognised in the other, so this "
        f"rests on fine alignment from a guess alone. {_CHECK}",
        "no_model": "No single transform explains the matched places, so this rests on fine "
        f"alignment from a guess alone. {_CHECK}",
        "too_few_inliers": f"The matched places support this only weakly. {_CHECK}",
        "implausible_transform": "The matched places led to a transform that no camera makes, so "
        f"this rests on fine alignment from a guess alone. {_CHECK}",
        "low_overlap": "The images share only a small part. What lies outside it is extrapolated "
        "and may be far off.",
        "refinement_rejected": "Fine alignment did not improve on the matched places, so their "
        f"answer stands. It may be off by a few pixels. {_CHECK}",
        "no_agreement": "Matched places agree, but the fine structure of the whole images does not "
        "confirm them: fine alignment leads away from them, or what matched is only a small part, "
        f"such as a logo in both images. {_CHECK}",
        "predicted_error": "The network itself believes that this is off by more than a few "
        f"pixels. {_CHECK}",
        "refinement_diverged": "Fine alignment that begins a few pixels beside the answer does not "
        f"come back to it, so the answer may be off by as much. {_CHECK}",
        "unconfirmed": "The network believes that this is right, but nothing was matched that "
        f"confirms it. {_CHECK}",
    },
    "failed": {
        "blank_image": "There is no structure to hold on to. Check that the right file was given, "
        "and that its contrast is not all in a few pixels.",
        "too_few_keypoints": "The network found too few distinct places in one of the images. "
        "Blurred, very smooth or very small images do this; try a sharper or larger one.",
        "too_few_matches": "Too few places of the one image were recognised in the other. They may "
        "not show the same scene, or be turned or scaled too much against each other.",
        "no_model": "Places were matched, but no single transform explains them. Most likely the "
        "images do not show the same scene, or its depth makes one transform impossible.",
        "too_few_inliers": "Only a handful of matches agree on one transform, and that happens by "
        "chance too. Most likely the images overlap little or do not show the same scene.",
        "implausible_transform": "The transform that was found would fold, flip or squash the "
        "image, which no camera does, so it was thrown away.",
        "low_overlap": "The transform that was found leaves almost nothing in common, so that "
        "nothing supports it.",
        "refinement_rejected": "Fine alignment had no good place to start from. Matching the "
        "images first, or an initial transform of your own, may help.",
        "no_agreement": "Fine alignment ended where the images agree no better than by chance. "
        "They may not show the same scene, or lie too far apart at the start.",
        "predicted_error": "The network believes that nothing it found is right. The images may "
        "not show the same scene, or lie too far apart at the start, or the model has not been "
        "trained enough.",
    },
}
_FEW_PIXELS, _COARSE = 500, 200
_SHOW_WIDTH = 1130


@dataclass(frozen=True)
class Embedded:
    """A picture as a data URI, how wide it is to be shown, and whether as bare pixels."""

    title: str
    uri: str
    show_width: int
    is_coarse: bool


@dataclass(frozen=True)
class View:
    """One tab: a slider between two pictures, a pair of them side by side, or a single one."""

    kind: Literal["slider", "pair", "single"]
    title: str
    caption: str
    pictures: Sequence[Embedded]


@dataclass(frozen=True)
class Row:
    """One line of a table; ``percent`` is the length of its bar."""

    label: str
    value: str
    percent: float = 0


def embed(picture: Picture, title: str) -> Embedded:
    """PNG of a small picture, JPEG of a large one."""
    height, width = picture.shape[:2]
    is_small = max(height, width) <= _FEW_PIXELS
    suffix, kind = (".png", "png") if is_small else (".jpg", "jpeg")
    text = base64.b64encode(encode_image(suffix, picture, quality=88)).decode("ascii")
    is_coarse = max(height, width) <= _COARSE
    enlargement = 5 if is_coarse else 3 if is_small else 2
    show = min(_SHOW_WIDTH, round(900 * width / height), width * enlargement)
    return Embedded(title, f"data:image/{kind};base64,{text}", show, is_coarse)


def shrunk(picture: Picture, max_side: int) -> Picture:
    """The picture, no longer than ``max_side`` on either side."""
    scale = max_side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def render_page(result: "Registration", views: Sequence[View], version: str) -> str:
    """HTML of the report; it refers to no other file and no network address."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    mark, heading = HEADINGS[result.status.value]
    return environment.get_template("page.html.j2").render(
        status=result.status.value,
        mark=mark,
        heading=heading,
        message=_sentence(result.message),
        notes=[_sentence(note) for note in result.notes],
        explanation=EXPLANATIONS[result.status.value].get(result.reason.value, ""),
        fixed_name=result.fixed_name or "fixed image",
        moving_name=result.moving_name or "moving image",
        views=views,
        numbers=_numbers(result),
        timings=_timings(result.timings),
        matrix=_matrix(result.transform),
        version=version,
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith((".", "!")) else ".")


def _numbers(result: "Registration") -> list[Row]:
    kept, total = int(np.count_nonzero(result.matches.inlier)), len(result.matches)
    share = f" ({kept / total:.0%})" if total else ""
    verdict, reason = result.status.value, result.reason.value.replace("_", " ")
    rows = [
        Row("Verdict", verdict if result.reason.value == "none" else f"{verdict}, {reason}"),
        Row("Matches kept by the fit", f"{kept} of {total}{share}"),
        Row("Fixed image", _size(result.fixed_size, result.fixed_image)),
        Row("Moving image", _size(result.moving_size, result.moving_image)),
        Row("Model", result.model),
    ]
    if (moved := result.correction) is not None:
        text = f"{moved.pixels:.2f} px of the moving image, {moved.metres:.2f} m (mean of corners)"
        rows.insert(2, Row("Correction of the georeference", text))
    if result.transform is not None:
        rows[2:2] = _motion(result.transform)
    if result.sparse is not None and result.dense is not None:
        gap = result.dense.corner_error(result.sparse)
        rows.append(Row("Refinement moved the corners by", f"{gap:.2f} px on average"))
    if result.residual_before is not None and result.residual_after is not None:
        change = f"{result.residual_before:.4g} → {result.residual_after:.4g}"
        rows.append(Row("Misfit before → after refinement", change))
    if result.confidence is not None and result.confidence_within is not None:
        limit = f"{result.confidence_within:.2g} px"
        told = f"{result.confidence:.2f} that the corners are less than {limit} off"
        rows.append(Row("Confidence", told, 100 * result.confidence))
    if result.predicted_error is not None:
        error = result.predicted_error
        digits = np.format_float_positional(error, precision=2, fractional=False, trim="-")
        told = "less than 0.1" if error < 0.1 else digits  # none is that sure to be nothing
        rows.append(Row("Predicted error of the corners", f"{told} px"))
    return rows


def _motion(transform: "Transform") -> list[Row]:
    """Shift, turn and scale at the centre of the fixed image."""
    centre = (np.array(transform.fixed_size) - 1) / 2
    steps = np.array([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    place, right, left, below, above = transform.apply(centre + steps)
    linear = np.column_stack([right - left, below - above])
    if not np.isfinite(linear).all():
        return []
    angle = math.degrees(math.atan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
    scale = math.sqrt(abs(float(np.linalg.det(linear))))
    return [
        Row(
            "Centre of the fixed image",
            f"({centre[0]:.1f}, {centre[1]:.1f}) lies at ({place[0]:.1f}, {place[1]:.1f}) "
            "in the moving image",
        ),
        Row("Turn and scale there", f"{angle:+.2f}°, × {scale:.4f}"),
    ]


def _size(size: tuple[int, int], image: np.ndarray | None) -> str:
    text = f"{size[0]} × {size[1]} px"
    if image is None:
        return text
    bands = 1 if image.ndim == 2 else image.shape[2]
    return f"{text}, {bands} band{'s' if bands > 1 else ''}, {image.dtype}"


def _timings(timings: dict[str, float]) -> list[Row]:
    longest = max(timings.values(), default=0) or 1
    return [
        Row(name.replace("_", " "), f"{seconds:.2f} s", 100 * seconds / longest)
        for name, seconds in timings.items()
    ]


def _matrix(transform: "Transform | None") -> list[list[str]]:
    if transform is None:
        return []
    return [[f"{value:.9g}" for value in row] for row in transform.matrix]
