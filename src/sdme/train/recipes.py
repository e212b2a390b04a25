"""The recipe of each preset."""

import torch
from torch import nn

from sdme.config import TrainSettings
from sdme.model.fast import FastNetwork
from sdme.model.network import SdmeNetwork
from sdme.train.fast import FastRecipe
from sdme.train.paper import PaperRecipe
from sdme.train.recipe import Recipe


def make_recipe(network: nn.Module, settings: TrainSettings, device: torch.device) -> Recipe:
    """How this network is trained on this device."""
    if isinstance(network, FastNetwork):
        return FastRecipe(network, settings, device)
    assert isinstance(network, SdmeNetwork), type(network)
    return PaperRecipe(network, settings, device)
