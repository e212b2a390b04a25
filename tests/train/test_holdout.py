"""Held-out pairs: whole blocks of neighbours, the same ones each time."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdme.data.manifest import read_manifest
from sdme.data.pairs import ImageFile, ImagePair
from sdme.data.sources import read_all
from sdme.errors import InputError
from sdme.train.holdout import LEAST_HELD_OUT, LEAST_TRAINING, split_pairs, write_manifest


def pairs(*ids, dataset="mine"):
    return [
        pair(identity, *(f"{dataset}/{identity}.{side}" for side in "ab"), dataset)
        for identity in ids
    ]


def pair(identity, fixed, moving, dataset="mine"):
    return ImagePair(dataset, identity, ImageFile(Path(fixed)), ImageFile(Path(moving)))


def frames(count):
    """Not in their order, and with numbers of several lengths."""
    return pairs(*(f"frame_{i}" for i in reversed(range(count))))


def numbers(chosen):
    return [int(pair.id.removeprefix("frame_")) for pair in chosen]


@given(st.integers(8, 400), st.floats(0.05, 0.5), st.integers(0, 5))
def test_every_pair_is_on_one_side_and_enough_on_each(count, share, seed):
    given_pairs = frames(count)
    split = split_pairs(given_pairs, share, seed)
    assert sorted(numbers(split.training) + numbers(split.held_out)) == list(range(count))
    assert len(split.held_out) == max(LEAST_HELD_OUT, round(share * count))
    assert len(split.training) >= LEAST_TRAINING


@given(st.integers(8, 400), st.integers(0, 5))
def test_few_held_out_pairs_have_a_neighbour_in_training(count, seed):
    split = split_pairs(frames(count), seed=seed)
    trained = set(numbers(split.training))
    exposed = [i for i in numbers(split.held_out) if {i - 1, i + 1} & trained]
    assert len(exposed) <= 2 * 5
    held_out = numbers(split.held_out)
    assert held_out == sorted(held_out)


def test_twenty_frames_lose_one_block_of_four():
    held_out = numbers(split_pairs(frames(20)).held_out)
    assert held_out == list(range(held_out[0], held_out[0] + 4))


def test_a_large_set_is_judged_on_several_places():
    held_out = numbers(split_pairs(frames(500)).held_out)
    assert len({i // 100 for i in held_out}) == 5
    assert sum(b - a > 1 for a, b in pairwise(held_out)) == 4


def test_the_choice_follows_from_names_and_seed_alone():
    one = split_pairs(frames(60))
    assert split_pairs(frames(60)[::-1]) == one
    assert split_pairs(frames(60)) == one
    assert len({tuple(numbers(split_pairs(frames(60), seed=s).held_out)) for s in range(9)}) > 3


def test_the_name_of_the_folder_does_not_matter():
    names = [f"scene{i}" for i in range(20)]
    splits = [split_pairs(pairs(*names, dataset=d)) for d in ("mine", "copy", "pairs", "x")]
    assert len({tuple(pair.id for pair in split.held_out) for split in splits}) == 1


def test_sets_are_not_interleaved():
    mixed = [*pairs(*"abcdefghij", dataset="two"), *pairs(*"abcdefghij", dataset="one")]
    ordered = split_pairs(mixed[::2] + mixed[1::2])
    together = sorted(ordered.training + ordered.held_out, key=lambda p: (p.dataset, p.id))
    start = together.index(ordered.held_out[0])
    assert together[start : start + 4] == list(ordered.held_out)


def test_numbers_sort_by_value_beside_names():
    split = split_pairs(pairs("10", "9", "x2", "x10", "b", "b1", "1", "100"))
    merged = {pair.id for pair in split.training + split.held_out}
    assert len(merged) == 8
    order = ["b", "b1", "x2", "x10", "1", "9", "10", "100"]
    for side in (split.training, split.held_out):
        places = [order.index(pair.id) for pair in side]
        assert places == sorted(places)


def pictures(chosen):
    return {image for pair in chosen for image in (pair.fixed, pair.moving)}


@given(st.lists(st.integers(1, 4), min_size=12, max_size=60), st.integers(0, 5))
def test_no_held_out_picture_is_trained_on(sensors, seed):
    """Each scene is one picture with those of several sensors; names mix the scenes."""
    listed = [
        pair(f"sensor{sensor}/{scene}", f"{scene}.a", f"{scene}.{sensor}")
        for scene, count in enumerate(sensors)
        for sensor in range(count)
    ]
    split = split_pairs(listed, seed=seed)
    assert not pictures(split.training) & pictures(split.held_out)
    assert len(split.training) + len(split.held_out) == len(listed)
    wanted = max(LEAST_HELD_OUT, round(0.2 * len(listed)))
    assert LEAST_HELD_OUT <= len(split.held_out) <= wanted + 5 * 3


def test_ten_scenes_with_two_sensors_lose_two_scenes():
    listed = [pair(f"{s}/{i}", f"{i}.a", f"{i}.{s}") for s in ("nir", "ir") for i in range(10)]
    held_out = sorted(int(p.id.rpartition("/")[2]) for p in split_pairs(listed).held_out)
    assert held_out == [held_out[0]] * 2 + [held_out[0] + 1] * 2


def test_pictures_are_shared_through_other_pairs_and_by_content():
    chain = [pair(f"chain{i}", f"c{i}", f"c{i + 1}") for i in range(5)]
    copies = pairs("copy1", "copy2")
    others = pairs(*(f"other{i}" for i in range(9)))
    same = frozenset([b"same"])
    contents = {p: frozenset([p.id.encode()]) for p in others} | dict.fromkeys(copies, same)
    together = ({p.id for p in chain}, {p.id for p in copies})
    for seed in range(20):
        held_out = {
            p.id for p in split_pairs(chain + copies + others, 0.3, seed, contents).held_out
        }
        assert all(unit <= held_out or not unit & held_out for unit in together)


def test_pairs_that_all_share_one_picture_cannot_be_split():
    with pytest.raises(InputError, match=r"20 usable pairs share a picture.*--val") as caught:
        split_pairs([pair(str(i), "reference", f"{i}.b") for i in range(20)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_pairs_are_an_error_that_says_how_many(count):
    with pytest.raises(InputError, match=rf"^{count} usable pair.* too few.*give more"):
        split_pairs(frames(count))


def test_a_manifest_of_packed_and_loose_pairs_is_read_as_the_same_pairs(tmp_path, write_pack):
    pictures = [np.random.default_rng(i).integers(0, 256, (40, 48, 3), np.uint8) for i in range(4)]
    write_pack(tmp_path / "sea.tar", {"d/1.a.png": pictures[0], "d/1.b.png": pictures[1]})
    folder = tmp_path / "lände"
    folder.mkdir()
    for name, picture in (("x, 1.a.png", pictures[2]), ("x, 1.b.png", pictures[3])):
        (folder / name).write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    listed = read_all([tmp_path / "sea.tar", folder])
    assert len(listed.pairs) == 2
    manifest = tmp_path / "out" / "held_out.jsonl"
    manifest.parent.mkdir()
    write_manifest(listed.pairs, manifest)
    read = read_manifest(manifest)
    assert not read.problems

    def key(pair):
        return pair.dataset, pair.id

    for before, after in zip(
        sorted(listed.pairs, key=key), sorted(read.pairs, key=key), strict=True
    ):
        assert (*key(after), after.group) == (*key(before), before.group)
        assert after.truth is None
        np.testing.assert_array_equal(after.fixed.read(), before.fixed.read())
        np.testing.assert_array_equal(after.moving.read(), before.moving.read())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"held_out", "held_out.jsonl"}
