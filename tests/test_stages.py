"""What the stages of a registration hand to each other."""

import numpy as np
import torch

from sdme.config import NetworkSettings, RefineSettings, RegisterSettings
from sdme.frames import make_frame
from sdme.model.network import SdmeNetwork
from sdme.stages import look


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
