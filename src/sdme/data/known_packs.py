"""What is known of the evaluation packs: their group, and how well their pairs are aligned."""

from dataclasses import dataclass

_MISALIGNED_FROM = 1.5


@dataclass(frozen=True)
class PackInfo:
    """Group of a pack, and the residual misalignment of its pairs in its own pixels.

    Where the latter is 1.5 px or more, sub-pixel figures say nothing of a method.
    ``is_one_place`` says that different pictures show the same place from the same view, or one
    place by several pairs of sensors.
    """

    group: str
    misalignment: float = 0
    is_one_place: bool = False

    @property
    def is_misaligned(self) -> bool:
        """Whether figures below 3 px have to be read with care."""
        return self.misalignment >= _MISALIGNED_FROM


PHOTO = "photo"
PACKS = {
    "epfl_rgbnir": PackInfo("nir"),
    "aerial_nir": PackInfo("nir"),
    "srif_nir": PackInfo("nir"),
    "cwfid": PackInfo("nir", 0.5),
    "roadscene": PackInfo("thermal", 1),
    "llvip": PackInfo("thermal", 1.3, is_one_place=True),
    "srif_night": PackInfo("thermal", 1),
    "tno": PackInfo("thermal", 0.5, is_one_place=True),
    "srif_temporal": PackInfo("season", 2),
    "srif_depth": PackInfo("depth"),
    "globe_relief": PackInfo("elevation", 1),
    "globe_etopo": PackInfo("elevation", 1),
    "relit_indoor": PackInfo("relit", 0.5),
    "srif_sar": PackInfo("sar", 1.5),
    "srif_map": PackInfo("map", 3),
    "mri_ct": PackInfo("medical", 1),
    "mri_pet": PackInfo("medical", 1),
    "imagenet_sample": PackInfo(PHOTO),
    "bsds500": PackInfo(PHOTO),
    "natural_scene": PackInfo(PHOTO),
    "wallpapers": PackInfo(PHOTO),
    "camvid": PackInfo(PHOTO),
    "rsscn7_aerial": PackInfo(PHOTO),
}
_UNKNOWN = PackInfo("other")


def pack_info(pack: str) -> PackInfo:
    """What is known of a pack; one that is not listed is a cross-modal one of group ``other``."""
    return PACKS.get(pack, _UNKNOWN)
