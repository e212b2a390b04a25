"""Settings of the networks of either preset."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PositiveInt, Tag, model_validator

from sdme.config.base import Count, Settings

Width = Annotated[int, Field(ge=8, multiple_of=8)]
"""Channels that are normalised in 8 groups."""


class NetworkSettings(Settings):
    """The two-task network (paper, section 3.1); the defaults are the preset ``paper``."""

    preset: Literal["paper"] = "paper"
    descriptor_channels: int = Field(default=128, ge=2)
    agents: int = Field(default=32, ge=2, description="number of learned agents")
    agent_heads: int = Field(default=8, ge=1, description="a divisor of descriptor_channels")
    use_agents: bool = Field(default=True, description="False drops the agent block (ablation)")

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.descriptor_channels % self.agent_heads:
            raise ValueError(
                f"{self.descriptor_channels} descriptor_channels cannot be shared by "
                f"{self.agent_heads} agent_heads; give a divisor"
            )
        return self


class FastSettings(Settings):
    """The strided network of the preset ``fast``."""

    preset: Literal["fast"] = "fast"
    channels: tuple[Width, Width, Width, Width] = Field(
        default=(16, 32, 64, 128), description="at 1/2, 1/4, 1/8, 1/16, multiples of 8"
    )
    depths: tuple[Count, Count, Count, Count] = Field(
        default=(0, 2, 3, 3), description="residual blocks at these scales on the way down"
    )
    attention: int = Field(default=2, ge=0, description="self and cross attention layers at 1/16")
    heads: int = Field(default=4, ge=1, description="a divisor of the channels at 1/16")
    descriptor_channels: Width = Field(
        default=64, description="of the cells at 1/4, a multiple of 8"
    )
    correlation_channels: int = Field(default=64, ge=8, description="of the cells at 1/8")
    context_channels: int = Field(default=32, ge=8, description="of the cells at 1/8")
    level_channels: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        default=(8, 16, 24), description="of the maps for alignment at 1/2, 1/4, 1/8"
    )
    aggregator_channels: Width = Field(default=64, description="a multiple of 8")
    aggregator_depth: int = Field(default=3, ge=1, description="residual blocks")
    radius: int = Field(default=3, ge=1, description="of the correlation windows, cells")
    scales: int = Field(default=2, ge=1, description="of correlation windows at 1/8, each twice")
    fine: bool = Field(default=False, description="cells at 1/4 vote after those at 1/8")

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.channels[-1] % self.heads:
            raise ValueError(
                f"{self.channels[-1]} channels at 1/16 cannot be shared by {self.heads} heads; "
                "give a divisor"
            )
        return self


def _preset_of(settings: Any) -> str | None:
    """The preset that settings, or a table of them, are for; without a word it is the paper's."""
    if isinstance(settings, dict):
        settings = settings.get("preset", "paper")
    else:
        settings = getattr(settings, "preset", "paper")
    return settings if isinstance(settings, str) else None


AnyNetworkSettings = Annotated[
    Annotated[NetworkSettings, Tag("paper")] | Annotated[FastSettings, Tag("fast")],
    Discriminator(
        _preset_of,
        custom_error_type="preset",
        custom_error_message="preset should be 'paper' or 'fast'",
    ),
]
"""Settings of a network of either preset; tables that name none are the paper's."""
