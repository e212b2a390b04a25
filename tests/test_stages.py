"""What the stages of a registration hand to each other."""

import time

import numpy as np
import pytest
import torch

from sdme.config import NetworkSettings, RefineSettings, RegisterSettings
from sdme.frames import make_frame
from sdme.model.network import SdmeNetwork
from sdme.stages import Clock, look


def test_refinement_weights_are_the_repeatability_or_one_for_all():
    torch.manual_seed(0)
    network = SdmeNetwork(NetworkSettings(descriptor_channels=16, agents=3, agent_heads=2)).eval()
    image = np.random.default_rng(0).integers(0, 255, (48, 56, 3), dtype=np.uint8)
    settings = RegisterSettings()
    frame = make_frame(image, "image", 64)
    with torch.inference_mode():
        weighted = look(network, frame, settings).weight
        plain = look(network, frame, RegisterSettings(refine=RefineSettings(weighted=False))).weight
        repeatability = network(frame.pixels).repeatability
    assert torch.equal(weighted, repeatability * frame.valid) and weighted.std() > 0
    assert torch.equal(plain, frame.valid.float())


class Queue:
    """A stand-in for CUDA: what is asked of it takes its time when it is waited for."""

    def __init__(self, now):
        self.now, self.asked = now, 0.0

    def wait(self, device):
        assert device.type == "cuda"
        self.now[0] += self.asked
        self.asked = 0.0


@pytest.mark.parametrize(("device", "seconds", "total"), [("cuda", 3.0, 8.0), ("cpu", 0.0, 0.0)])
def test_a_stage_on_a_gpu_has_ended_when_its_work_is_done(monkeypatch, device, seconds, total):
    """And the work that was asked for earlier is not the stage's."""
    now = [0.0]
    queue = Queue(now)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch.cuda, "synchronize", queue.wait)
    clock = Clock(device=torch.device(device))
    queue.asked = 5.0
    with clock.stage("vote"):
        queue.asked += 3.0
    assert clock.seconds() == {"vote": seconds, "total": total}
