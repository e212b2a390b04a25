"""Every kind of pair that spoils a training is found, told of and left out."""

import json
import shutil

import cv2
import numpy as np
import pytest
from skimage import data

from sdme.data.pair_check import check_pairs
from sdme.data.pairs import ImageFile, ImagePair, Landmarks, PairList, Problem
from sdme.data.sources import read_pairs
from sdme.errors import InputError

HEIGHT, WIDTH = 150, 180


def view(index, dx=0, dy=0):
    """A part of a photo of its own place."""
    x, y = 25 + 60 * (index % 5), 25 + 90 * (index // 5 % 4)
    return data.astronaut()[y - dy : y - dy + HEIGHT, x - dx : x - dx + WIDTH]


def negative(image):
    """The same scene for another sensor."""
    return 255 - image[..., [1, 1, 1]] // 2


def write(path, image):
    assert cv2.imwrite(str(path), image[..., ::-1])


def write_pair(folder, name, fixed, moving):
    folder.mkdir(exist_ok=True)
    write(folder / f"{name}.a.png", fixed)
    write(folder / f"{name}.b.png", moving)


@pytest.fixture
def folder(tmp_path):
    """Eight good pairs."""
    for index in range(8):
        write_pair(tmp_path / "mine", f"good{index}", view(index), negative(view(index)))
    return tmp_path / "mine"


def why(report, name):
    (reason,) = [problem.why for problem in report.problems if name in problem.where]
    return reason


def test_good_pairs_are_all_used_in_their_order(folder):
    pairs = read_pairs(folder)
    report = check_pairs(pairs)
    assert list(report.usable) == list(pairs.pairs) and len(report.usable) == 8
    assert not report.problems and not report.warnings and report.common_shift is None
    assert len(report.offsets) == report.judged == 8
    report.raise_if_unusable()
    assert report.to_lines()[0] == "8 of 8 pairs can be used"


def test_offenders_are_listed_and_left_out(folder):
    good = view(9)
    write_pair(folder, "blank", good, np.full_like(good, (200, 10, 0)))
    write_pair(folder, "small", good[:50], negative(good)[:50])
    write_pair(folder, "same", good, good)
    write_pair(folder, "cut", good, negative(good))
    cut_short = (folder / "cut.b.png").read_bytes()
    (folder / "cut.b.png").write_bytes(cut_short[: len(cut_short) // 3])
    write_pair(folder, "text", good, negative(good))
    (folder / "text.b.png").write_text("no picture")
    write_pair(folder, "sizes", good, negative(good)[:-1])
    write(folder / "lonely.a.png", good)
    shutil.copy(folder / "good3.a.png", folder / "zagain.a.png")
    shutil.copy(folder / "good3.b.png", folder / "zagain.b.png")
    report = check_pairs(read_pairs(folder))
    assert [pair.id for pair in report.usable] == [f"good{index}" for index in range(8)]
    assert "same value everywhere" in why(report, "blank") and "blank.b.png" in why(report, "blank")
    assert "180x50 px" in why(report, "small") and "at least 64x64" in why(report, "small")
    assert "the same content" in why(report, "same")
    assert "cut.b.png cannot be decoded" in why(report, "cut")
    assert "not an image" in why(report, "text")
    assert "two sizes" in why(report, "sizes")
    assert "no moving image" in why(report, "lonely")
    assert "repeats pair mine/good3" in why(report, "zagain")
    assert len(report.problems) == 8 and report.given == 16
    lines = report.to_lines()
    assert all(any(problem.where in line for line in lines) for problem in report.problems)
    report.raise_if_unusable()


def test_images_in_two_formats_are_still_the_same_picture(folder):
    write(folder / "same.a.png", view(9))
    write(folder / "same.b.bmp", view(9))
    assert "the same content" in why(check_pairs(read_pairs(folder)), "same")


def test_a_pair_the_other_way_round_is_a_repetition(folder):
    write_pair(folder, "swapped", negative(view(2)), view(2))
    assert "repeats pair mine/good2" in why(check_pairs(read_pairs(folder)), "swapped")


def test_one_fixed_image_with_two_sensors_is_no_repetition(folder):
    write_pair(folder, "third", view(2), negative(view(2)) // 2)
    assert not check_pairs(read_pairs(folder)).problems


def test_pictures_are_known_by_their_pixels(folder):
    write_pair(folder, "third", view(2), negative(view(2)) // 2)
    write(folder / "swapped.a.bmp", negative(view(3)))
    write(folder / "swapped.b.bmp", view(3))
    report = check_pairs(read_pairs(folder))
    contents = {pair.id: content for pair, content in report.contents.items()}
    assert set(contents) == {*(f"good{index}" for index in range(8)), "third", "swapped"}
    assert len(contents["third"] & contents["good2"]) == 1
    assert contents["swapped"] == contents["good3"]
    assert not contents["good0"] & contents["good1"]


def test_pairs_that_are_not_on_one_grid(folder):
    pair = read_pairs(folder).pairs[0]
    points = np.zeros((4, 2))
    pairs = [
        ImagePair("set", "turned", pair.fixed, pair.moving, np.eye(3)),
        ImagePair("set", "clicked", pair.fixed, pair.moving, Landmarks(points, points)),
    ]
    report = check_pairs(PairList(pairs))
    assert "a transform of its own" in why(report, "set/turned")
    assert "landmarks" in why(report, "set/clicked") and not report.usable


def test_photos_need_no_other_sensor(folder):
    photos = [ImagePair("photos", p.id, p.fixed, p.fixed) for p in read_pairs(folder).pairs]
    report = check_pairs(PairList(photos))
    assert len(report.usable) == 8 and not report.offsets


def test_files_that_vanish_after_listing(folder):
    found = read_pairs(folder)
    (folder / "good1.b.png").unlink()
    report = check_pairs(found)
    assert "does not exist" in why(report, "good1") and len(report.usable) == 7


def test_sizes_that_only_decoding_tells(folder):
    """A list of pairs that no reader has looked at."""
    write(folder / "odd.png", view(9)[:-3])
    pair = ImagePair("set", "odd", ImageFile(folder / "good1.a.png"), ImageFile(folder / "odd.png"))
    assert "180x150 and 180x147" in why(check_pairs(PairList([pair])), "odd")


def test_too_few_pairs_is_one_line_with_the_first_offender(folder):
    (folder / "good5.b.png").write_text("no picture")
    report = check_pairs(read_pairs(folder), fewest=8)
    with pytest.raises(InputError) as caught:
        report.raise_if_unusable("out/problems.txt")
    text = str(caught.value)
    assert text.startswith("7 of 8 pairs can be used, 8 are needed") and "\n" not in text
    assert "good5" in text and "out/problems.txt" in text
    assert "that is too few: 8 are needed" in report.to_lines()
    check_pairs(read_pairs(folder), fewest=7).raise_if_unusable()


def test_too_few_pairs_without_any_problem():
    with pytest.raises(InputError, match=r"^0 of 0 pairs can be used, 8 are needed; add pairs$"):
        check_pairs(PairList([]), fewest=8).raise_if_unusable("problems.txt")


def test_pairs_that_are_off_are_warned_of_and_used(folder):
    write_pair(folder, "off", view(1, 5, 4), negative(view(1)))
    write_pair(folder, "worse", view(7, -9, 1), negative(view(7)))
    report = check_pairs(read_pairs(folder))
    assert len(report.usable) == 10 and report.common_shift is None
    assert [offset.pair.id for offset in report.warnings] == ["worse", "off"]
    worse, off = (offset.misalignment for offset in report.warnings)
    assert (off.dx, off.dy) == pytest.approx((-5, -4), abs=0.3)
    assert (worse.dx, worse.dy) == pytest.approx((9, -1), abs=0.3)
    (line,) = [line for line in report.to_lines() if "mine/off" in line]
    assert "off by about 6.4 px" in line
    assert not check_pairs(read_pairs(folder), worst_misalignment=12).warnings


def test_a_shift_that_all_pairs_share(tmp_path):
    for index in range(8):
        write_pair(tmp_path / "set", f"p{index}", view(index), negative(view(index, 3, -2)))
    report = check_pairs(read_pairs(tmp_path / "set"))
    shift = report.common_shift
    assert shift is not None and (shift.pairs, shift.judged) == (8, 8)
    assert (shift.dx, shift.dy) == pytest.approx((3, -2), abs=0.2)
    assert any("shifted alike, by about (3.0, -2.0) px" in line for line in report.to_lines())


def test_unrelated_images_are_not_judged_and_that_is_said(tmp_path):
    for index in range(5):
        noise = np.random.default_rng(index).integers(0, 256, view(0).shape, dtype=np.uint8)
        write_pair(tmp_path / "set", f"p{index}", view(index), noise)
    report = check_pairs(read_pairs(tmp_path / "set"))
    assert report.judged == 0 and not report.warnings
    assert any("most pairs cannot be judged" in line for line in report.to_lines())


def test_a_part_of_many_pairs_is_estimated_evenly(folder):
    report = check_pairs(read_pairs(folder), most_estimates=3)
    assert [offset.pair.id for offset in report.offsets] == ["good0", "good4", "good7"]
    assert len(report.usable) == 8
    assert any("looked at in 3 pairs" in line for line in report.to_lines())


def test_tolerance_grows_with_images_larger_than_training_stores(folder):
    large = cv2.resize(data.astronaut(), (960, 1280))
    write_pair(folder, "large", large, negative(large))
    tolerances = {o.pair.id: o.tolerance for o in check_pairs(read_pairs(folder)).offsets}
    assert tolerances["good0"] == 3 and tolerances["large"] == 9


def test_progress_and_the_reader_s_own_problems(folder):
    seen = []
    problem = Problem("elsewhere", "it is broken")
    pairs = read_pairs(folder).pairs
    report = check_pairs(PairList(pairs, [problem]), progress=lambda *step: seen.append(step))
    assert seen == [(done, 8) for done in range(1, 9)]
    assert list(report.problems) == [problem] and report.given == 9


def test_the_record_is_json_and_agrees_with_the_report(folder):
    write_pair(folder, "off", view(1, 6, 0), negative(view(1)))
    (folder / "good5.b.png").write_text("no picture")
    record = json.loads(json.dumps(check_pairs(read_pairs(folder)).to_data()))
    assert (record["usable"], record["given"], record["judged"]) == (8, 9, 8)
    assert [one["id"] for one in record["misaligned"]] == ["off"]
    assert record["misaligned"][0]["dx"] == pytest.approx(-6, abs=0.3)
    assert "not an image" in record["problems"][0]["why"] and record["common_shift"] is None
