"""Batches: the direction and pixel centres of ``H``, and which pictures are drawn how often."""

import cv2
import numpy as np
import pytest
import torch

from sdme.config import DataSettings
from sdme.data import batches
from sdme.data.batches import Batch, make_batch, seed_generators
from sdme.data.store import ImageStore

SIZES = {"fixed_side": 32, "moving_side": 48, "max_shift": 8, "stored_side": 80}
SETTINGS = DataSettings().model_copy(update=SIZES)  # smaller than the losses can use


def store_of(first, second=None, pairs=0, weights=None):
    weights = torch.ones(pairs) if weights is None else torch.tensor(weights)
    pictures = first if second is None else torch.cat([first, second])
    index = torch.arange(len(first))
    other = index if second is None else index + len(first)
    pictures = pictures.permute(0, 2, 3, 1).contiguous()
    cumulative = (weights / weights.sum()).cumsum(0)
    return ImageStore(pictures, index, other, pairs, cumulative, index[:pairs])


def ramps(count=1):
    """Red is 3 x, green is 3 y: a crop's colours tell which stored place each pixel shows."""
    line = 3 * torch.arange(80, dtype=torch.uint8)
    image = torch.stack([line.expand(80, 80), line[:, None].expand(80, 80), line.expand(80, 80)])
    return image.expand(count, -1, -1, -1).contiguous()


def levels(values):
    """Pictures of one grey level each."""
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 80, 80)


@pytest.fixture
def unrendered(monkeypatch):
    """Crops as they are: no other modality, no degradation."""
    monkeypatch.setattr(batches, "_render", lambda image, *_: image)


def stored_places(image):
    return image[:, :2].double() * 255 / 3


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("seed", [0, 1])
def test_convention_h_maps_fixed_to_moving_pixels(seed):
    torch.manual_seed(seed)
    settings = SETTINGS.model_copy(update={"rotation": 0.0, "pair_share": 0.0})
    batch = make_batch(store_of(ramps(2)), 12, settings)
    assert batch.fixed.shape == (12, 3, 32, 32) and batch.moving.shape == (12, 3, 48, 48)
    fixed, moving = stored_places(batch.fixed), stored_places(batch.moving)
    for index, H in enumerate(batch.H.double().numpy()):
        warped = cv2.warpPerspective(
            moving[index].permute(1, 2, 0).numpy(), H, (32, 32),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=(np.nan,) * 4,
        )  # fmt: skip
        gap = np.abs(warped - fixed[index].permute(1, 2, 0).numpy())
        assert np.isfinite(gap).mean() > 0.95
        assert np.nanmax(gap) < 0.15  # stored pixels; half a pixel off would be 0.3 or more


@pytest.mark.usefixtures("unrendered")
def test_crops_are_similar_views_with_rotation_flips_and_scale():
    torch.manual_seed(0)
    batch = make_batch(store_of(ramps()), 200, SETTINGS.model_copy(update={"rotation": 20.0}))
    middle = stored_places(batch.moving)[..., 22:26, 22:26]
    along_x = (middle[..., 1, 2] - middle[..., 1, 1]).numpy()
    along_y = (middle[..., 2, 1] - middle[..., 1, 1]).numpy()
    length_x, length_y = np.linalg.norm(along_x, axis=1), np.linalg.norm(along_y, axis=1)
    np.testing.assert_allclose(length_x, length_y, rtol=1e-3)
    np.testing.assert_allclose((along_x * along_y).sum(1), 0, atol=1e-3)
    assert length_x.min() >= 0.6 - 1e-3 and length_x.max() <= 80 / 48 + 1e-3
    assert length_x.min() < 0.7 and length_x.max() > 1.5
    mirrored = along_x[:, 0] * along_y[:, 1] < along_x[:, 1] * along_y[:, 0]
    assert 0.3 < mirrored.mean() < 0.7
    off_axis = np.degrees(np.arctan2(np.abs(along_x).min(1), np.abs(along_x).max(1)))
    assert 10 < off_axis.max() <= 20.1


def test_shifts_of_the_corners_stay_in_their_range():
    torch.manual_seed(0)
    batch = make_batch(store_of(ramps()), 300, SETTINGS)
    square = np.array([[0, 0], [31, 0], [31, 31], [0, 31]], np.float32)
    places = np.stack([cv2.perspectiveTransform(square[None], H.numpy())[0] for H in batch.H])
    shifts = np.abs(places - square - 8).max((1, 2))
    assert shifts.max() <= 8 + 1e-3 and shifts.max() > 7 and shifts.min() < 2
    still = SETTINGS.model_copy(update={"max_shift": 0.0})
    H = make_batch(store_of(ramps()), 2, still).H
    expected = torch.tensor([[1.0, 0, 8], [0, 1, 8], [0, 0, 1]]).expand(2, -1, -1)
    torch.testing.assert_close(H, expected)


def drawn_levels(store, count, settings, difficulty=1.0):
    """Grey levels (fixed, moving) of a batch."""
    batch = make_batch(store, count, settings, difficulty)
    both = [(image[:, 0, 8, 8] * 255).round().int() for image in (batch.fixed, batch.moving)]
    return list(zip(*(b.tolist() for b in both), strict=True))


@pytest.mark.usefixtures("unrendered")
def test_pairs_and_photos_in_their_share_in_any_order():
    torch.manual_seed(0)
    store = store_of(levels([10, 20, 30, 40]), levels([11, 21, 30, 40]), pairs=2)
    drawn = drawn_levels(store, 1000, SETTINGS.model_copy(update={"pair_share": 0.6}))
    assert set(drawn) == {(10, 11), (11, 10), (20, 21), (21, 20), (30, 30), (40, 40)}
    real = [a != b for a, b in drawn]
    assert sum(real) == 600 and 250 < sum(real[:500]) < 350
    assert all(80 < drawn.count(kind) < 260 for kind in set(drawn))


@pytest.mark.usefixtures("unrendered")
def test_only_pairs_or_only_photos():
    torch.manual_seed(0)
    settings = SETTINGS.model_copy(update={"pair_share": 0.5})
    only_pairs = store_of(levels([10, 20]), levels([11, 21]), pairs=2)
    assert all(a != b for a, b in drawn_levels(only_pairs, 40, settings))
    only_photos = store_of(levels([10, 20]))
    assert set(drawn_levels(only_photos, 40, settings)) == {(10, 10), (20, 20)}


@pytest.mark.usefixtures("unrendered")
def test_difficulty_brings_in_real_pairs():
    torch.manual_seed(0)
    store = store_of(levels([10, 30]), levels([11, 30]), pairs=1)
    settings = SETTINGS.model_copy(update={"pair_share": 0.8})
    real = [
        sum(a != b for a, b in drawn_levels(store, 100, settings, difficulty))
        for difficulty in (0.0, 0.5, 1.0)
    ]
    assert real == [0, 40, 80]


def test_shares_of_rendering(monkeypatch):
    """At most one side of a photo is rendered often; both sides of a pair seldom."""
    shares = []
    monkeypatch.setattr(
        batches, "_render", lambda image, share, *_: shares.append(share.flatten()) or image
    )
    torch.manual_seed(0)
    store = store_of(levels([10, 30]), levels([11, 30]), pairs=1)
    update = {"pair_share": 0.5, "photo_synthesis": 0.8, "pair_synthesis": 0.2}
    batch = make_batch(store, 400, SETTINGS.model_copy(update=update), 0.5)
    fixed, moving = shares
    photo = (batch.fixed[:, 0, 8, 8] * 255).round() == 30
    assert photo.sum() == 300
    torch.testing.assert_close((fixed + moving)[photo], torch.full((300,), 0.4 + 0.1))
    torch.testing.assert_close((fixed - moving)[photo].abs(), torch.full((300,), 0.4 - 0.1))
    assert 100 < (fixed > moving).sum() < 200
    torch.testing.assert_close(torch.cat([fixed[~photo], moving[~photo]]), torch.full((200,), 0.1))


def test_batches_are_images_and_repeat_with_a_seed():
    store = store_of(ramps(3), 255 - ramps(3), pairs=2)
    made = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        made.append(make_batch(store, 6, SETTINGS))
    for batch in made:
        for image in (batch.fixed, batch.moving):
            assert image.isfinite().all() and image.min() >= 0 and image.max() <= 1
    assert all(torch.equal(a, b) for a, b in zip(*(m.tensors for m in made[:2]), strict=True))
    assert not torch.equal(made[0].H, made[2].H)


def test_losses_draws_are_part_of_a_batch():
    settings = DataSettings(fixed_side=48, moving_side=64, max_shift=8, stored_side=80)

    def draw(H, given):
        assert given is settings
        return {"double": 2 * H, "number": torch.rand(len(H), 3)}

    torch.manual_seed(0)
    batch = make_batch(store_of(ramps(3)), 6, settings, draw=draw)
    assert torch.equal(batch.draws["double"], 2 * batch.H)
    last = batch.split(2)[2]
    assert torch.equal(last.draws["number"], batch.draws["number"][4:])
    torch.manual_seed(0)
    without = make_batch(store_of(ramps(3)), 6, settings)
    assert torch.equal(without.fixed, batch.fixed) and not without.draws


def test_parts_of_a_batch_join_to_the_whole():
    torch.manual_seed(0)
    batch = make_batch(store_of(ramps(3)), 6, SETTINGS)
    parts = batch.split(2)
    assert [len(part.H) for part in parts] == [2, 2, 2]
    joined = Batch.joined(parts)
    assert all(torch.equal(a, b) for a, b in zip(joined.tensors, batch.tensors, strict=True))
    assert Batch.joined(parts[:1]) is parts[0]


def test_seeds_of_several_numbers_differ():
    drawn = set()
    for numbers in ((0, 0), (0, 1), (1, 0), (1, 1), (12345, 6789)):
        seed_generators(*numbers)
        drawn.add(torch.rand(()).item())
    assert len(drawn) == 5
    seed_generators(0, 1)
    assert torch.rand(()).item() in drawn


def test_degradation_and_renderings_are_chosen(monkeypatch):
    asked = []

    def rendered(image, shares):
        asked.append(shares)
        return torch.full_like(image, 0.25)

    monkeypatch.setattr(batches.synthesis, "pseudo_modality", rendered)
    monkeypatch.setattr(batches.synthesis, "degrade", lambda image: torch.full_like(image, 0.75))
    torch.manual_seed(0)
    update = {"photo_synthesis": 1.0, "pair_synthesis": 1.0, "degradation": 0.25}
    settings = SETTINGS.model_copy(update={**update, "renderings": {"drawing": 1.0}})
    batch = make_batch(store_of(ramps(3)), 400, settings)
    level = batch.fixed[:, 0, 0, 0]
    assert set(level.tolist()) == {0.25, 0.75}
    assert 70 < (level == 0.75).sum() < 130
    assert asked == [{"drawing": 1.0}] * 2


def test_a_share_of_pairs_is_turned_and_scaled_about_the_middle():
    torch.manual_seed(0)
    update = {"turned_share": 0.5, "turn": 30.0, "zoom": 1.4, "max_shift": 0.0}
    settings = SETTINGS.model_copy(update=update)
    H = make_batch(store_of(ramps(3)), 400, settings).H.double()
    middles = [torch.tensor([(side - 1) / 2] * 2) for side in (32, 48)]
    moved = (H[:, :2, :2] @ middles[0].double()) + H[:, :2, 2]
    torch.testing.assert_close(moved, middles[1].double().expand(400, 2), atol=1e-3, rtol=0)
    scale = torch.linalg.det(H[:, :2, :2]).sqrt()
    angle = torch.atan2(H[:, 1, 0], H[:, 0, 0]).rad2deg()
    turned = (angle.abs() > 1e-3) | ((scale - 1).abs() > 1e-4)
    assert 0.4 < turned.float().mean() < 0.6
    assert 25 < angle.abs().max() <= 30.001 and 1.3 < scale.max() <= 1.4001
    assert 1 / 1.4001 <= scale.min() < 1 / 1.3
    torch.testing.assert_close(H[:, 2], torch.tensor([0.0, 0, 1]).double().expand(400, 3))
