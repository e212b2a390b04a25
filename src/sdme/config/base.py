"""What all settings have in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of all settings: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _not_none_at_all(steps: tuple[int, int, int]) -> tuple[int, int, int]:
    if not any(steps):
        raise ValueError("there are no steps at any scale; give at least one")
    return steps


Count = Annotated[int, Field(ge=0)]
LevelSteps = Annotated[tuple[Count, Count, Count], AfterValidator(_not_none_at_all)]
"""Steps of Lucas-Kanade of the preset ``fast`` at 1/2, 1/4 and 1/8."""
