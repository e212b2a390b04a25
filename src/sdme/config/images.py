"""How one image is shown to the network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sdme.config.base import Settings

Choice = Literal["auto", "yes", "no"]
Axis = Literal["x", "y", "z"]
Band = Annotated[int, Field(ge=1)]


class ViewSettings(Settings):
    """What the network sees of an image; the result is never touched by it."""

    bands: tuple[Band, ...] | None = Field(
        default=None,
        description="one or three bands, counted from 1; none: those named red, green and blue, "
        "else the first three that are not constant",
    )
    log: Choice = Field(
        default="auto",
        description="logarithm of the values, as suits radar; auto: one band, not 8 bit, speckled "
        "and with a long tail of bright values",
    )
    collar: Choice = Field(
        default="auto",
        description="the frame of one extreme value around a turned scene carries no data; auto "
        "and yes: where what is left has at most eight corners",
    )

    place: bool = Field(
        default=True,
        description="where the file says that the image lies, or how large its pixels are, is the "
        "start of a registration, if both images say so",
    )

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if self.bands is not None and len(self.bands) not in (1, 3):
            raise ValueError(f"{len(self.bands)} bands are chosen; choose one or three")
        return self
