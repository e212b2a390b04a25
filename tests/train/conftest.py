"""A run small enough to finish in a second."""

import numpy as np
import pytest
import torch

from sdme.config import DataSettings, NetworkSettings, TrainSettings
from sdme.data.sources import read_all
from sdme.train.loop import RunOptions, train

CPU = torch.device("cpu")


def _scene(seed, side=64):
    """Blocks of random colours."""
    blocks = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    return blocks.repeat(4, axis=0).repeat(4, axis=1)


@pytest.fixture(scope="session")
def tiny_settings():
    return TrainSettings(
        network=NetworkSettings(descriptor_channels=16, agents=3, agent_heads=2),
        data=DataSettings(fixed_side=40, moving_side=48, max_shift=4, stored_side=64),
        steps=4,
        batch=1,
        chunk=2,
        warmup=2,
        learning_rate=1e-3,
        log_every=2,
        validation_pairs=2,
        validate_every=4,
        checkpoint_every=2,
    )


@pytest.fixture
def packs(tmp_path, write_pack):
    folder = tmp_path / "packs"
    for name, seed in (("pairs/train", 0), ("pairs/val", 10)):
        (folder / name).mkdir(parents=True)
        members = {f"{i}.a.png": _scene(seed + i) for i in range(2)}
        members |= {f"{i}.b.png": 255 - _scene(seed + i) for i in range(2)}
        write_pack(folder / name / "scenes.tar", members)
    (folder / "photos/train").mkdir(parents=True)
    write_pack(folder / "photos/train/p.tar", {f"{i}.png": _scene(20 + i) for i in range(2)})
    return folder


@pytest.fixture
def training(packs):
    """Two cross-modal pairs and two photos."""
    return read_all([packs / "pairs/train", packs / "photos/train"]).pairs


@pytest.fixture
def validation(packs):
    """Two further pairs."""
    return read_all([packs / "pairs/val"]).pairs


@pytest.fixture
def options(tmp_path):
    """Options of a run by the name of its folder."""
    return lambda name="run", **changes: RunOptions(tmp_path / name, CPU, **changes)


@pytest.fixture
def trained(training, validation, options):
    """Train in the folder of that name."""
    return lambda settings, *name, **changes: train(
        settings, training, validation, options(*name, **changes)
    )


@pytest.fixture(autouse=True)
def same_arithmetic_afterwards():
    """Training chooses faster arithmetic for the whole process."""
    precision, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.benchmark = benchmark
