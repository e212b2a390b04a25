"""The sheet of examples: what stands where, and that looking changes nothing."""

import numpy as np
import pytest
import torch

from sdme.data.store import load_store
from sdme.model.network import SdmeNetwork
from sdme.train import pictures
from sdme.train.pictures import COLUMNS, example_sheet

CAPTION, GAP = 20, 4
SIDES = (40, 48, 40, 48, 40, 48, 40, 40)


def cell(sheet, row, column):
    side, left = SIDES[column], GAP + sum(SIDES[:column]) + GAP * column
    top = CAPTION + row * (48 + GAP)
    return sheet[top : top + side, left : left + side]


@pytest.fixture
def network(tiny_settings):
    torch.manual_seed(0)
    return SdmeNetwork(tiny_settings.network).train()


def test_images_maps_and_boards_stand_in_their_columns(
    tiny_settings, network, validation, monkeypatch
):
    made, original = [], pictures.make_batch

    def make_batch(*arguments):
        made.append(original(*arguments))
        return made[-1]

    monkeypatch.setattr(pictures, "make_batch", make_batch)
    store = load_store(validation, tiny_settings.data)
    sheet = example_sheet(network, store, tiny_settings.data, pairs=3)
    assert (
        sheet.shape == (CAPTION + 3 * (48 + GAP), GAP + sum(SIDES) + 8 * GAP, 3)
        and sheet.dtype == np.uint8
    )
    assert len(COLUMNS) == 8
    (batch,) = made
    features = network.eval()(batch.moving)
    for row in range(3):
        for column, images in enumerate((batch.fixed, batch.moving)):
            true = images[row].permute(1, 2, 0) * 255
            assert np.abs(cell(sheet, row, column) - true.numpy()).max() <= 0.5001
        for column, maps in ((3, features.repeatability), (5, features.structure)):
            shown = torch.from_numpy(cell(sheet, row, column)[..., 0]).flatten().float()
            assert (shown.min(), shown.max()) == (0, 255)
            both = torch.stack([shown, maps[row].detach().flatten()])
            assert torch.corrcoef(both)[0, 1] > 0.99
        fixed, boards = cell(sheet, row, 0), [cell(sheet, row, c) for c in (6, 7)]
        for board in boards:  # tiles of 4 px: one of the fixed image, then one of the moving
            assert np.array_equal(board[16:20, 16:20], fixed[16:20, 16:20])
            assert not np.array_equal(board[16:20, 20:24], fixed[16:20, 20:24])


def test_looking_changes_nothing_and_shows_the_same(tiny_settings, network, validation):
    store = load_store(validation, tiny_settings.data)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    sheets = [example_sheet(network, store, tiny_settings.data) for _ in range(2)]
    assert torch.equal(torch.rand(4), expected) and network.training
    assert np.array_equal(*sheets)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
