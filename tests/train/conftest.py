"""Runs of training and fine-tuning that are small enough to finish in a second."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from sdme.config import DataSettings, NetworkSettings, TrainSettings
from sdme.data.manifest import read_manifest
from sdme.data.sources import read_all
from sdme.evaluate.score import Score
from sdme.model.network import SdmeNetwork
from sdme.model.weights import save_weights
from sdme.train import finetune, judge
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


TINY = (
    "batch=1", "chunk=1", "data.fixed_side=40", "data.moving_side=48", "data.max_shift=4",
    "data.stored_side=64", "validation_pairs=2", "checkpoint_every=1", "learning_rate=1e-3",
)  # fmt: skip


def _smooth_scene(seed, side=96):
    blocks = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    return cv2.resize(blocks, (side, side), interpolation=cv2.INTER_CUBIC)


def _write_pairs(folder, count, first=0):
    folder.mkdir()
    for i in range(first, first + count):
        cv2.imwrite(str(folder / f"frame_{i}.a.png"), _smooth_scene(i))
        cv2.imwrite(str(folder / f"frame_{i}.b.png"), 255 - _smooth_scene(i))


@pytest.fixture
def scene():
    """The picture of a seed, as OpenCV has it."""
    return _smooth_scene


@pytest.fixture
def write_pairs():
    """Write the pairs ``frame_N`` of so many scenes into a new folder."""
    return _write_pairs


@pytest.fixture
def tiny_changes():
    """Settings that make fine-tuning small."""
    return TINY


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with nine pairs and a tiny network."""
    monkeypatch.chdir(tmp_path)
    _write_pairs(tmp_path / "pairs", 9)
    torch.manual_seed(0)
    network = SdmeNetwork(NetworkSettings(descriptor_channels=16, agents=3, agent_heads=2))
    save_weights(tmp_path / "weights.safetensors", network)
    return tmp_path


@pytest.fixture
def run():
    """Fine-tune in ``place``."""

    def run(folder="out", data=("pairs",), model="weights.safetensors", **changes):
        values = {"device": "cpu", "steps": 3, "changes": TINY, "quiet": True} | changes
        return finetune.finetune(model, data, folder, finetune.FinetuneOptions(**values))

    return run


@pytest.fixture
def known_errors(monkeypatch):
    """Errors before and after, in place of those of an evaluation; notes what was asked for."""
    asked = {"before": 8.0, "after": 2.0, "calls": []}

    def evaluate(data, methods, folder, options, **rest):
        asked["calls"].append((data, methods, folder, options))
        asked["presentation"] = rest["presentation"]
        pairs = read_manifest(data[0]).pairs
        scores = [
            Score(
                method=name, stage="last", is_final=True, dataset=pair.dataset, group="other",
                pair=pair.id, index=0, fixed_side="a", measure="corners", error=error,
                final_error=error, unregistered_error=20.0, seconds=0.1, memory=1.0,
            )
            for name, error in zip(
                rest["presentation"].labels.values(), (asked["before"], asked["after"]),
                strict=True,
            )
            for pair in pairs
        ]  # fmt: skip
        asked["scores"] = scores
        return type("Evaluation", (), {"scores": scores})

    monkeypatch.setattr(judge, "evaluate", evaluate)
    return asked


class Script:
    """Trainings that are made up: how long each takes, and what comes of it."""

    def __init__(self):
        self.now, self.limits, self.turns = 0.0, [], []

    def train(self, settings, training, validation, options):
        self.limits.append(options.seconds)
        seconds, outcome = self.turns.pop(0)
        self.now += seconds
        if outcome is KeyboardInterrupt:
            raise KeyboardInterrupt
        return SimpleNamespace(**{"total": settings.steps, "skipped": 0} | outcome)


@pytest.fixture
def script(monkeypatch):
    """Trainings that are made up, in place of true ones."""
    script = Script()
    monkeypatch.setattr(finetune, "train", script.train)
    monkeypatch.setattr(finetune, "time", SimpleNamespace(monotonic=lambda: script.now))
    return script
