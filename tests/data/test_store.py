"""Pictures for training: what is decoded, how sets are weighted, and parts that take turns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sdme.config import DataSettings
from sdme.data.pair_report import pair_name
from sdme.data.pairs import ImageFile
from sdme.data.sources import read_all
from sdme.data.store import (
    DeviceStore,
    ImageStore,
    UnusableItemsError,
    chosen_items,
    draw_part,
    load_store,
)
from sdme.errors import InputError

SIZES = {"fixed_side": 32, "moving_side": 48, "max_shift": 8, "stored_side": 80}
SETTINGS = DataSettings().model_copy(update=SIZES)  # smaller than the losses can use
CPU = torch.device("cpu")


def grey(level, height=40, width=40):
    return np.full((height, width, 3), level, np.uint8)


def pack(write_pack, path, content):
    return read_all([write_pack(path, content)]).pairs


def pairs_of(count, level=10):
    return {f"{i:02}.{s}.png": grey(level + i) for i in range(count) for s in "ab"}


def test_sets_weigh_by_the_root_of_their_size(tmp_path, write_pack):
    items = [
        *pack(write_pack, tmp_path / "s.tar", pairs_of(4)),
        *pack(write_pack, tmp_path / "p.tar", {"x.png": grey(200)}),
        *pack(write_pack, tmp_path / "l.tar", pairs_of(16, 50)),
    ]
    store = load_store(items, SETTINGS)
    assert store.pictures.shape == (41, 80, 80, 3) and store.pictures.dtype == torch.uint8
    assert (store.pairs, store.photos, store.side) == (20, 1, 80)
    probability = torch.diff(store.cumulative, prepend=torch.zeros(1))
    torch.testing.assert_close(probability[:4].sum(), torch.tensor(1 / 3))
    torch.testing.assert_close(probability[4:].sum(), torch.tensor(2 / 3))
    assert store.first[-1] == store.second[-1]
    assert store.pictures[store.first[-1], 0, 0, 0] == 200
    assert (store.first[:20] != store.second[:20]).all()


def test_long_pictures_give_both_ends_and_sides_stay_together(tmp_path, write_pack):
    tall = np.zeros((120, 40, 3), np.uint8)
    tall[:60], tall[60:] = 50, 100
    content = {"x.a.png": tall, "x.b.png": 255 - tall}
    store = load_store(pack(write_pack, tmp_path / "p.tar", content), SETTINGS)
    assert store.pairs == 2
    assert store.pictures[store.first, 40, 40, 0].tolist() == [50, 100]
    assert store.pictures[store.second, 40, 40, 0].tolist() == [205, 155]
    wide = load_store(pack(write_pack, tmp_path / "w.tar", {"w.png": grey(9, 40, 44)}), SETTINGS)
    assert (wide.pairs, wide.photos) == (0, 1)


def test_nothing_to_train_on():
    with pytest.raises(InputError, match="nothing to train on"):
        load_store([], SETTINGS)


def test_pairs_with_a_transform_are_refused(tmp_path, write_pack):
    (item,) = pack(write_pack, tmp_path / "p.tar", pairs_of(1))
    moved = type(item)(item.dataset, item.id, item.fixed, item.moving, np.eye(3))
    with pytest.raises(InputError, match="not on one pixel grid"):
        load_store([moved], SETTINGS)


def test_all_that_cannot_be_used_is_told_at_once(tmp_path, write_pack):
    items = pack(write_pack, tmp_path / "p.tar", pairs_of(4))
    for number in (0, 2):
        cut = ImageFile(tmp_path / f"{number}.png")
        cut.path.write_bytes(b"no image")
        items[number] = replace(items[number], moving=cut)
    items[3] = replace(items[3], truth=np.eye(3))
    with pytest.raises(UnusableItemsError, match=r"^3 of the pairs and photos") as caught:
        load_store(items, SETTINGS)
    problems = caught.value.problems
    assert [one.where for one in problems] == [pair_name(items[i]) for i in (0, 2, 3)]
    assert "0.png" in problems[0].why and "one pixel grid" in problems[2].why
    assert "\n" not in str(caught.value)


def test_chosen_sets_and_share(tmp_path, write_pack):
    items = [
        *pack(write_pack, tmp_path / "one.tar", pairs_of(20)),
        *pack(write_pack, tmp_path / "two.tar", pairs_of(3)),
        *pack(write_pack, tmp_path / "photos.tar", {f"{i}.png": grey(i) for i in range(5)}),
    ]

    def chosen(**update):
        kept = chosen_items(items, SETTINGS.model_copy(update=update))
        return {
            name: [i.id for i in kept if i.dataset == name] for name in {i.dataset for i in kept}
        }

    assert {k: len(v) for k, v in chosen().items()} == {"one": 20, "two": 3, "photos": 5}
    assert set(chosen(datasets=("two", "photos"))) == {"two", "photos"}
    tenth = chosen(pair_fraction=0.1)
    assert {k: len(v) for k, v in tenth.items()} == {"one": 2, "two": 1, "photos": 5}
    assert tenth["one"] == ["00", "10"]  # spread over the set
    with pytest.raises(InputError, match="no set three in the data, which has one, photos, two"):
        chosen(datasets=("one", "three"))


def numbered_store(pairs, photos):
    """Pictures whose level tells which they are: pairs are 2 i and 2 i + 1."""
    count = 2 * pairs + photos
    pictures = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 4, 4, 3)
    first = torch.cat([torch.arange(0, 2 * pairs, 2), torch.arange(2 * pairs, count)])
    second = torch.cat([torch.arange(0, 2 * pairs, 2) + 1, torch.arange(2 * pairs, count)])
    cumulative, sets = torch.linspace(0, 1, pairs + 1)[1:], torch.zeros(pairs, dtype=torch.int64)
    return ImageStore(pictures, first, second, pairs, cumulative, sets)


@pytest.mark.parametrize("pairs, photos, capacity", [(20, 10, 25), (20, 0, 7), (0, 30, 11)])
def test_a_part_keeps_items_whole_and_their_proportion(pairs, photos, capacity):
    whole = numbered_store(pairs, photos)
    part = draw_part(whole, capacity, [0, 1])
    assert capacity - 2 <= len(part.pictures) <= capacity
    share = 2 * pairs / (2 * pairs + photos)
    assert 2 * part.pairs == pytest.approx(capacity * share, abs=2)
    level = part.pictures[:, 0, 0, 0].int()
    first, second = level[part.first], level[part.second]
    assert (second[: part.pairs] == first[: part.pairs] + 1).all()
    assert (first[: part.pairs] % 2 == 0).all()
    assert torch.equal(first[part.pairs :], second[part.pairs :])
    assert len(set(first.tolist())) == len(first)
    assert len(part.cumulative) == part.pairs
    assert not part.pairs or part.cumulative[-1] == pytest.approx(1)


def test_parts_take_turns_and_repeat_with_seed_and_step():
    whole = numbered_store(30, 20)
    settings = SETTINGS.model_copy(update={"device_gib": 10 * 48 / 2**30, "refresh_every": 100})
    one, two = (DeviceStore(whole, settings, CPU, seed=3) for _ in range(2))
    early, same, later = (one.at(step).pictures for step in (0, 99, 100))
    assert early is same and not torch.equal(early, later)
    assert torch.equal(two.at(150).pictures, later)  # a resumed run
    seen = {int(v) for step in range(0, 6000, 100) for v in one.at(step).pictures[:, 0, 0, 0]}
    assert seen == set(range(80))
    assert not torch.equal(DeviceStore(whole, settings, CPU, seed=4).at(0).pictures, early)


def test_what_fits_stays():
    store = DeviceStore(numbered_store(3, 2), SETTINGS, CPU, seed=0)
    assert len(store.at(0).pictures) == 8 and store.at(0) is store.at(10_000)


@pytest.mark.parametrize("capacity", [20, 200, 1980])
def test_a_small_set_keeps_its_weight_in_every_part(capacity):
    sizes = torch.tensor([900, 90])
    sets = torch.arange(2).repeat_interleave(sizes)
    weights = sizes[sets] ** -0.5
    index = torch.arange(990)
    pictures = torch.zeros(1980, 1, 1, 3, dtype=torch.uint8)
    cumulative = (weights / weights.sum()).cumsum(0)
    whole = ImageStore(pictures, 2 * index, 2 * index + 1, 990, cumulative, sets)
    part = draw_part(whole, capacity, [0, 0])
    probability = torch.diff(part.cumulative, prepend=torch.zeros(1))
    expected = sizes.sqrt() / sizes.sqrt().sum()
    for number in (0, 1):
        mass = probability[part.sets == number].sum()
        torch.testing.assert_close(mass, expected[number], atol=1e-4, rtol=0)
    assert len(part.pictures) == capacity and len(set(part.first.tolist())) == part.pairs


def test_every_set_is_in_every_part():
    sets = torch.tensor([0] * 1000 + [1, 2])
    index = torch.arange(1002)
    pictures = torch.zeros(2004, 1, 1, 3, dtype=torch.uint8)
    cumulative = torch.linspace(0, 1, 1003)[1:]
    whole = ImageStore(pictures, 2 * index, 2 * index + 1, 1002, cumulative, sets)
    for turn in range(10):
        assert set(draw_part(whole, 20, [0, turn]).sets.tolist()) == {0, 1, 2}


def test_the_share_is_that_of_the_pairs_in_a_set_with_photos_too(tmp_path, write_pack):
    content = {**pairs_of(20), **{f"a{i}.png": grey(i) for i in range(5)}}
    items = pack(write_pack, tmp_path / "mixed.tar", content)
    chosen = chosen_items(items, SETTINGS.model_copy(update={"pair_fraction": 0.1}))
    assert sorted(item.is_photo for item in chosen) == [False] * 2 + [True] * 5
