"""Registration methods that can be compared: the package's own, classical ones, learned ones.

Each is a module with a builder ``build_NAME(device) -> Method``; what is listed here is what the
command line offers. A method's libraries are imported when it is built.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sdme.errors import InputError
from sdme.evaluate.method import Method
from sdme.files import WEIGHTS_FILE

_HERE = __name__


@dataclass(frozen=True)
class MethodInfo:
    """A method on offer.

    ``builder`` is ``module:function`` within this package. ``setting`` says which setting it is
    given, and why that is its best fair one. ``extra`` names the optional dependencies it needs.
    ``is_classical`` says that it has learned nothing from data.
    """

    summary: str
    setting: str
    builder: str
    is_classical: bool = True
    extra: str = ""


METHODS: dict[str, MethodInfo] = {
    "identity": MethodInfo(
        summary="no registration: the initial placement itself",
        setting="none",
        builder="identity:build_identity",
    ),
    "sift": MethodInfo(
        summary="SIFT keypoints and MAGSAC",
        setting="images below 512 px enlarged up to 2x (what 3x and 4x find, 2x finds as well, in "
        "half the time); contrast threshold 0.01, as small images have few keypoints; the 1500 "
        "strongest (all of them find as much); RootSIFT with ratio 0.85 (a fifth more matches "
        "than plain SIFT with 0.8, and more pairs solved in near infrared)",
        builder="features:build_sift",
    ),
    "akaze": MethodInfo(
        summary="AKAZE keypoints and MAGSAC",
        setting="images below 512 px enlarged up to 3x (half as many pairs again below 0.5 px as "
        "with 2x); threshold 0.0001, a tenth of the default, for more keypoints in small images; "
        "the 1500 strongest; ratio 0.9",
        builder="features:build_akaze",
    ),
    "orb": MethodInfo(
        summary="ORB keypoints and MAGSAC",
        setting="images below 512 px enlarged up to 4x (twice as many pairs below 0.5 px as with "
        "2x); FAST threshold 5 and 2000 keypoints, as the defaults find little in small images; "
        "ratio 0.85; offset of the higher octaves, up to a pixel, taken out",
        builder="features:build_orb",
    ),
    "ecc-intensity": MethodInfo(
        summary="enhanced correlation coefficient of grey values",
        setting="coarse to fine from 32 px, translation to homography: at full resolution alone it "
        "seldom converges; 100 iterations to 1e-6 (50 to 1e-4 are worse); blur of 5 px",
        builder="ecc:build_ecc_intensity",
    ),
    "ecc-gradient": MethodInfo(
        summary="enhanced correlation coefficient of gradient magnitude",
        setting="as ecc-intensity, with a blur of 3 px, as edges are fine; grey values of two "
        "sensors do not correlate, their edges may",
        builder="ecc:build_ecc_gradient",
    ),
    "sift+ecc": MethodInfo(
        summary="SIFT, refined by ECC of gradient magnitude",
        setting="sift, then ECC at full resolution; it is kept where it moves the corners by 2 px "
        "at most, else it makes good answers worse; from fewer than 8 inliers, ecc-gradient from "
        "the start, as those answers are mostly wrong",
        builder="ecc:build_sift_ecc",
    ),
    "phase-correlation": MethodInfo(
        summary="a similarity by phase correlation (Fourier-Mellin)",
        setting="gradient magnitude under Hann windows; log-polar spectrum between 0.03 and 0.4 "
        "cycles a pixel, as the pixel grid shows beyond; the better of the two turns and none",
        builder="phase_correlation:build_phase_correlation",
    ),
    "mutual-information": MethodInfo(
        summary="mutual information: affine (SimpleITK), then a homography by its four corners",
        setting="Mattes' measure, 32 bins, coarse to fine; gradient descent from steps of 4 px (a "
        "line search takes several times as long for little); corners by L-BFGS, 32 to 256 px, as "
        "searches without a gradient (Powell, Nelder-Mead) end short of the maximum",
        builder="mutual_information:build_mutual_information",
        extra="compare",
    ),
    "xfeat": MethodInfo(
        summary="XFeat keypoints, mutual nearest neighbours and MAGSAC",
        setting="images below 512 px enlarged up to 4x (in 100 training pairs of two sensors, 14 "
        "below 1 px; 7 with 2x, none as given); the 4096 best keypoints and no least similarity, "
        "as published (one of 0.82 found less)",
        builder="xfeat:build_xfeat",
        is_classical=False,
        extra="compare",
    ),
    "xfeat-star": MethodInfo(
        summary="XFeat's semi-dense matches and MAGSAC",
        setting="images below 512 px enlarged up to 4x; 4096 cells and fine confidence 0.25, as "
        "published; its points moved from the corners of its cells to their centres, which halves "
        "the error on photos",
        builder="xfeat:build_xfeat_star",
        is_classical=False,
        extra="compare",
    ),
    "xfeat-lighterglue": MethodInfo(
        summary="XFeat keypoints matched by LighterGlue, and MAGSAC",
        setting="images below 512 px enlarged up to 4x; the 2048 best keypoints (4096 found no "
        "more for several times the time); least confidence 0.1, as published",
        builder="xfeat:build_lighterglue",
        is_classical=False,
        extra="compare",
    ),
    "aliked-lightglue": MethodInfo(
        summary="ALIKED keypoints matched by LightGlue, and MAGSAC",
        setting="images below 512 px enlarged up to 3x (4x found no more, 2x fewer); ALIKED n16 "
        "with detection threshold 0.05, a quarter of the default, for more keypoints in small "
        "images (in 100 training pairs of two sensors 34 below 5 px, not 28), at most 2048; all "
        "layers and keypoints of LightGlue, its most accurate setting",
        builder="lightglue:build_aliked_lightglue",
        is_classical=False,
        extra="compare",
    ),
    "disk-lightglue": MethodInfo(
        summary="DISK keypoints matched by LightGlue, and MAGSAC",
        setting="images below 512 px enlarged up to 4x (the most pairs below 1 px); DISK trained "
        "with depth maps, at most 2048 keypoints; LightGlue as in aliked-lightglue",
        builder="lightglue:build_disk_lightglue",
        is_classical=False,
        extra="compare",
    ),
}


GROUPS = ("classical", "learned", "all")
"""Words that stand for several methods; those whose libraries are not here are left out."""


def chosen_methods(
    names: Iterable[str], default: str, device: str = "cpu"
) -> tuple[list[str], dict[str, str]]:
    """Methods by name, groups replaced by their members; and why members are left out.

    ``default`` is the model that ``all`` ends with.
    """
    chosen: list[str] = []
    left_out: dict[str, str] = {}
    for name in names:
        if name not in GROUPS:
            chosen.append(method_key(name))
            continue
        for member, info in METHODS.items():
            if name != "all" and info.is_classical != (name == "classical"):
                continue
            try:
                build_method(member, device)
                chosen.append(member)
            except InputError as error:
                left_out[member] = str(error)
        chosen += [default] if name == "all" else []
    return list(dict.fromkeys(chosen)), left_out


def is_model(method: str) -> bool:
    """Whether a method is a model of this package, by the name it goes by."""
    return method not in METHODS and not method.endswith(".py")


def is_shipped(name: str) -> bool:
    """Whether the package comes with a model of that name."""
    from sdme.model.weights import records

    return any(record.name == name for record in records())


def method_key(name: str) -> str:
    """What a method is stored under: its file's resolved path, so that one file is one method."""
    return str(Path(name).resolve()) if Path(name).is_file() else name


def method_label(method: str) -> str:
    """The name of a method in tables: of a file the last part of its path.

    The weights of a training go by its folder, as all are called the same; unless that would pass
    for a method or a shipped model.
    """
    if not method.endswith((".py", ".safetensors")):
        return method
    path = Path(method)
    run = path.parent.name
    if path.name != WEIGHTS_FILE or not run:
        return path.name
    return f"{run}/{path.name}" if run in METHODS or is_shipped(run) else run


def build_method(name: str, device: str = "cpu") -> Method:
    """A method ready to run, by its name here, a model's name, a weights file or a Python file.

    ``device`` is a device of PyTorch; classical methods run on the CPU whatever it is.

    Raises:
        InputError: the name is unknown, or the method's libraries, weights or device are not to
            be had.
    """
    if name.endswith(".py"):
        from sdme.evaluate.methods.user_file import build_user_method

        return build_user_method(Path(name))
    if name not in METHODS:
        from sdme.evaluate.methods.ours import build_ours

        try:
            return build_ours(name, device)
        except InputError as error:
            raise InputError(f"{error}; other methods: sdme compare --list") from None
    info = METHODS[name]
    module, _, function = info.builder.partition(":")
    try:
        return getattr(importlib.import_module(f"{_HERE}.{module}"), function)(device)
    except ImportError as error:
        raise InputError(
            f"method {name} needs a package that is not here ({error}); "
            f"pip install 'sdme[{info.extra}]'"
        ) from None
