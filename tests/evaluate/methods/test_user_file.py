from pathlib import Path

import cv2
import numpy as np
import pytest

from sdme.errors import InputError
from sdme.evaluate.method import MethodResult
from sdme.evaluate.methods import build_method
from sdme.evaluate.methods.user_file import build_user_method

EXAMPLE = Path(__file__).parents[3] / "examples/compare_own_method.py"
FIXED = np.zeros((8, 9, 3), np.uint8)
MOVING = np.ones((10, 11, 3), np.uint8)
INITIAL = np.array([[1, 0, 1.0], [0, 1, 2.0], [0, 0, 1]])


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


def test_a_function_of_two_arguments_gets_the_images_fixed_first(tmp_path):
    path = written(
        tmp_path,
        "def register(fixed, moving):\n"
        "    assert fixed.dtype == 'uint8'\n"
        "    h, w = fixed.shape[:2]\n"
        "    h2, w2 = moving.shape[:2]\n"
        "    return [[1, 0, w], [0, 1, h2], [0, 0, 1]]\n",
    )
    result = build_user_method(path)(FIXED, MOVING, INITIAL)
    np.testing.assert_array_equal(result.stages["mine.py"], [[1, 0, 9], [0, 1, 10], [0, 0, 1]])
    assert result.seconds["mine.py"] >= 0


@pytest.mark.parametrize("arguments", ["fixed, moving, initial", "a, b, c=None", "*images"])
def test_a_third_argument_is_the_placement_to_start_from(tmp_path, arguments):
    body = "images[2]" if "*" in arguments else arguments.split(", ")[2].split("=")[0]
    path = written(tmp_path, f"def register({arguments}):\n    return {body}\n")
    result = build_user_method(path)(FIXED, MOVING, INITIAL)
    np.testing.assert_array_equal(result.stages["mine.py"], INITIAL)


def test_the_function_cannot_change_where_others_start(tmp_path):
    path = written(tmp_path, "def register(f, m, initial):\n    initial[:] = 7\n    return None\n")
    start = INITIAL.copy()
    assert build_user_method(path)(FIXED, MOVING, start).stages == {"mine.py": None}
    np.testing.assert_array_equal(start, INITIAL)


def test_stages_of_its_own_are_kept_in_order(tmp_path):
    path = written(
        tmp_path,
        "import numpy as np\n"
        "from sdme.evaluate.method import MethodResult\n"
        "def register(fixed, moving):\n"
        "    return MethodResult({'late': None, 'early': np.eye(3)}, verdict='fine')\n",
    )
    result = build_user_method(path)(FIXED, MOVING, INITIAL)
    assert isinstance(result, MethodResult)
    assert list(result.stages) == ["late", "early"]
    assert result.verdict == "fine"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("[[1, 0, 0], [0, 1, 0]]", r"shape \(2, 3\)"),
        ("float('nan') * __import__('numpy').eye(3)", "not finite"),
        ("'nothing'", "returned a str"),
        ("[[1], [2, 3]]", "returned a list"),
        ("__import__('sdme.evaluate.method').evaluate.method.MethodResult({})", "without stages"),
    ],
)
def test_an_unusable_answer_is_refused_with_the_reason(tmp_path, answer, why):
    method = build_user_method(
        written(tmp_path, f"def register(fixed, moving):\n    return {answer}\n")
    )
    with pytest.raises(InputError, match=why) as refusal:
        method(FIXED, MOVING, INITIAL)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\n", "no function register"),
        ("register = 1\n", "no function register"),
        ("def register(fixed):\n    pass\n", "cannot be called"),
        ("def register(a, b, c, d):\n    pass\n", "cannot be called"),
        ("import a_package_nobody_has\n", "cannot be imported: ModuleNotFoundError"),
        ("def register(\n", "cannot be imported: SyntaxError"),
        ("raise SystemExit\n", "cannot be imported: SystemExit"),
        ("raise ValueError('two\\nlines')\n", "two lines"),
    ],
)
def test_an_unusable_file_is_one_line(tmp_path, text, why):
    with pytest.raises(InputError, match=why) as refusal:
        build_user_method(written(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.py is not a file"):
        build_method(str(tmp_path / "no.py"))


def test_what_the_function_raises_comes_through(tmp_path):
    method = build_user_method(
        written(tmp_path, "def register(fixed, moving):\n    return 1 / 0\n")
    )
    with pytest.raises(ZeroDivisionError):
        method(FIXED, MOVING, INITIAL)


def test_the_example_finds_a_shift_from_fixed_to_moving():
    noise = np.random.default_rng(3).integers(0, 256, (160, 160, 3), np.uint8)
    scene = cv2.GaussianBlur(noise, (0, 0), 2)
    fixed, moving = scene[40:104, 40:104], scene[20:116, 20:116]
    initial = np.array([[1, 0, 16.0], [0, 1, 14.0], [0, 0, 1]])
    H = build_method(str(EXAMPLE))(fixed, moving, initial).stages["compare_own_method.py"]
    assert H is not None
    np.testing.assert_allclose(H, [[1, 0, 20], [0, 1, 20], [0, 0, 1]], atol=0.4)
    assert build_method(str(EXAMPLE))(0 * fixed, 0 * moving, initial).stages == {
        "compare_own_method.py": None
    }
