"""Random renderings that turn one photo into the picture of another "sensor".

All functions take and give batches ``(b, c, h, w)`` in [0, 1]; every sample of a batch draws its
own parameters from the device's default generator, nothing moves, and nothing waits for the
device. A chain of them compiles to one graph. ``RENDERINGS`` and ``DEGRADATIONS`` name them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sdme.data.filters import box_mean, gaussian_blur, slopes, varied_blur
from sdme.errors import InputError

Image = Float[Tensor, "b c h w"]
Grey = Float[Tensor, "b 1 h w"]
Colour = Float[Tensor, "b 3 h w"]


def uniform(image: Tensor, low: float = 0.0, high: float = 1.0) -> Float[Tensor, "b 1 1 1"]:
    """One number a sample, uniform in [low, high]."""
    return torch.rand(len(image), 1, 1, 1, device=image.device) * (high - low) + low


def normal(image: Tensor, deviation: float = 1.0) -> Float[Tensor, "b 1 1 1"]:
    """One number a sample, normally distributed."""
    return torch.randn(len(image), 1, 1, 1, device=image.device) * deviation


def one_of(image: Tensor, shares: Sequence[float], options: Sequence[Tensor]) -> Tensor:
    """For each sample one of the options, chosen with the given shares (they sum to 1)."""
    draw, chosen, bound = uniform(image), options[-1], 1.0 - shares[-1]
    for share, option in zip(shares[-2::-1], options[-2::-1], strict=True):
        chosen = torch.where(draw < bound, option, chosen)
        bound -= share
    return chosen


def reverse_some(image: Image) -> Image:
    """Contrast reversal of half of the samples."""
    return torch.where(uniform(image) < 0.5, 1 - image, image)


def random_blur(image: Image, sharpest: float = -1.0, softest: float = 2.2) -> Image:
    """Blur with a deviation uniform in [sharpest, softest] pixels; below 0.2 it does nothing."""
    sigma = uniform(image, sharpest, softest).clamp(min=0.2)
    return varied_blur(image, sigma, reach=math.ceil(2.2 * softest))


def project_colour(image: Colour) -> Grey:
    """Grey by random channel weights, now and then with negative ones; never cut off."""
    draw = torch.randn(2, len(image), 3, 1, 1, device=image.device)
    signed = (uniform(image) < 0.15) * 0.6 * draw[1]
    weights = torch.softmax(draw[0] * 1.2, dim=1) + signed
    darkest = weights.clamp(max=0).sum(1, keepdim=True)
    brightest = weights.clamp(min=0).sum(1, keepdim=True).clamp(min=1)
    grey = (image * weights).sum(1, keepdim=True)
    return ((grey - darkest) / (brightest - darkest)).clamp(0, 1)


def signed_projection(image: Colour) -> Grey:
    """Difference of colours: channel weights of either sign, exposed anew."""
    weights = torch.randn(len(image), 3, 1, 1, device=image.device)
    return exposed((image * weights).sum(1, keepdim=True), least=math.inf)


def exposed(grey: Grey, least: float = 0.12) -> Grey:
    """Pictures that deviate by less than ``least`` are centred on 0.5 and stretched, up to 10 x.

    Without it, tone curves and regions of dark or hazy pictures would come out flat.
    """
    spread, mean = torch.var_mean(grey, (2, 3), correction=0, keepdim=True)
    spread = spread.sqrt()
    stretched = (0.5 + 0.2 * (grey - mean) / (spread + 0.02)).clamp(0, 1)
    return torch.where(spread < least, stretched, grey)


def cosine_tone(grey: Image) -> Image:
    """Non-monotonic tone curve ``cos(w g + phi)``: the pseudo-thermal rendering of XoFTR (2024)."""
    rate = 2 * math.pi / 3 + normal(grey).abs() * math.pi / 3
    phase = math.pi / 2 + normal(grey, math.pi / 2)
    return torch.cos(rate * (grey - 0.5) * 1.5 + phase) * 0.5 + 0.5


def random_curve(grey: Image, knots: int = 7) -> Image:
    """Piecewise-linear tone curve through random values at equally spaced knots."""
    values = torch.rand(len(grey), knots, device=grey.device)
    place = grey.clamp(0, 1) * (knots - 1)
    left = place.floor().long().clamp(0, knots - 2)
    share = place - left

    def look_up(index: Tensor) -> Tensor:
        return values.gather(1, index.flatten(1)).view_as(grey)

    return torch.lerp(look_up(left), look_up(left + 1), share)


def power_curve(grey: Image) -> Image:
    """Random gamma."""
    return grey.clamp(min=1e-3) ** torch.exp(normal(grey, 0.5))


def recolour_regions(first: Grey, second: Grey) -> Grey:
    """Regions of alike values in two projections get values of their own."""
    colours = torch.rand(len(first), 32, device=first.device)
    soft = gaussian_blur(torch.cat([first, second], 1), 0.8)
    coarse = (soft[:, :1] * uniform(first, 3, 10) + uniform(first)).floor()
    fine = (soft[:, 1:] * uniform(first, 1.5, 5) + uniform(first)).floor()
    region = (coarse * 5 + fine).remainder(32).long()
    return colours.gather(1, region.flatten(1)).view_as(first)


def regions(grey: Grey, photo: Colour) -> Grey:
    """Recoloured regions with what is left of the picture's own texture, either way up."""
    recoloured = recolour_regions(grey, project_colour(photo))
    return torch.lerp(reverse_some(grey), recoloured, uniform(grey, 0.3, 1.0))


def edge_rendering(grey: Grey) -> Grey:
    """Gradient magnitude, scaled by its own mean."""
    dx, dy = slopes(grey)
    edges = (dx.square() + dy.square() + 1e-6).sqrt()
    return (edges / (edges.mean((2, 3), keepdim=True) * 5 + 1e-3)).clamp(0, 1)


def drawing(grey: Grey) -> Grey:
    """Edges on a ground that shows the picture itself faintly, as lines of light or of ink."""
    return reverse_some(torch.lerp(edge_rendering(grey), reverse_some(grey), uniform(grey, 0, 0.5)))


def relief(grey: Grey) -> Grey:
    """Slope along a random direction, as of a surface lit from one side."""
    dx, dy = slopes(grey)
    angle = uniform(grey, 0, 2 * math.pi)
    slope = dx * torch.cos(angle) + dy * torch.sin(angle)
    return (0.5 + slope / (slope.abs().mean((2, 3), keepdim=True) * 8 + 0.02)).clamp(0, 1)


def local_contrast(grey: Grey) -> Grey:
    """Deviation from the local mean by the local deviation, reversed in some samples."""
    mean = box_mean(grey)
    spread = (box_mean(grey.square()) - mean.square()).clamp(min=0)
    sign = torch.sign(normal(grey) + 0.3)
    return (0.5 + 0.2 * sign * (grey - mean) / (spread + 1e-3).sqrt()).clamp(0, 1)


def luminance_rank(grey: Grey, bins: int = 64) -> Grey:
    """Share of the picture's pixels that are darker, estimated from a grid of them."""
    rows, columns = (max(1, side // 48) for side in grey.shape[-2:])
    seen = (grey[..., ::rows, ::columns].flatten(1) * bins).long().clamp(0, bins - 1)
    counts = grey.new_zeros(len(grey), bins).scatter_add(1, seen, grey.new_ones(seen.shape))
    rank = (counts.cumsum(1) - counts / 2) / seen.shape[1]
    place = (grey.flatten(1) * bins).long().clamp(0, bins - 1)
    return rank.gather(1, place).view_as(grey)


def palette_transfer(grey: Grey, photo: Colour) -> Colour:
    """Greys replaced by 6 to 64 colours of the previous sample of the batch, rank for rank.

    Its darkest colour stands for the darkest grey or, in half of the samples, for the brightest.
    """
    rows, columns = (max(1, side // 16) for side in photo.shape[-2:])
    colours = photo.roll(1, 0)[..., rows // 2 :: rows, columns // 2 :: columns].flatten(2)
    luminance = 0.299 * colours[:, 0] + 0.587 * colours[:, 1] + 0.114 * colours[:, 2]
    order = luminance.argsort(1)
    steps = uniform(grey, 6, 64).floor()
    rank = ((reverse_some(luminance_rank(grey)) * steps).floor() + 0.5) / steps
    place = (rank * order.shape[1]).long().clamp(0, order.shape[1] - 1).flatten(1)
    index = order.gather(1, place)[:, None].expand(-1, 3, -1)
    return colours.gather(2, index).unflatten(2, grey.shape[-2:])


class Rendering(NamedTuple):
    """How another sensor might see a scene, and the share of samples that are rendered so.

    ``function`` takes a grey view of the photo (a random projection, exposed and blurred) and the
    photo itself, and gives a grey or a colour picture on the same pixels.
    """

    function: Callable[[Grey, Colour], Image]
    share: float


def from_grey(function: Callable[[Grey], Image]) -> Callable[[Grey, Colour], Image]:
    """A rendering that looks at the grey view alone."""
    return lambda grey, photo: function(grey)


RENDERINGS: dict[str, Rendering] = {
    "palette": Rendering(palette_transfer, 0.12),
    "regions": Rendering(regions, 0.22),
    "cosine": Rendering(from_grey(cosine_tone), 0.12),
    "curve": Rendering(from_grey(random_curve), 0.12),
    "gamma": Rendering(from_grey(power_curve), 0.08),
    "reversed": Rendering(from_grey(lambda grey: 1 - power_curve(grey)), 0.08),
    "signed": Rendering(lambda grey, photo: signed_projection(photo), 0.06),
    "drawing": Rendering(from_grey(drawing), 0.07),
    "relief": Rendering(from_grey(relief), 0.04),
    "local_contrast": Rendering(from_grey(local_contrast), 0.09),
}


def pseudo_modality(image: Colour, shares: Mapping[str, float] | None = None) -> Image:
    """The same scene as another sensor might see it: for each sample one of ``RENDERINGS``.

    ``shares`` names those in use and how often (any positive scale); default: their own shares. A
    quarter of the samples is blended with a second draw. Colour if a rendering in use gives colour.
    """
    shares = checked_shares(shares) if shares else {name: r.share for name, r in RENDERINGS.items()}
    total = sum(shares.values())
    grey = random_blur(exposed(project_colour(image)))
    options = [RENDERINGS[name].function(grey, image) for name in shares]
    chances = [share / total for share in shares.values()]
    blend = uniform(image, 0.0, 0.6) * (uniform(image) < 0.25)
    return torch.lerp(one_of(image, chances, options), one_of(image, chances, options), blend)


def checked_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """The renderings that have a share.

    Raises:
        InputError: a name is not in ``RENDERINGS``, or the shares are none.
    """
    unknown = [name for name in shares if name not in RENDERINGS]
    if unknown or min(shares.values()) < 0 or not sum(shares.values()) > 0:
        raise InputError(
            f"renderings {dict(shares)} cannot be drawn; give positive shares of some of "
            f"{', '.join(RENDERINGS)}"
        )
    return {name: share for name, share in shares.items() if share}


def sensor_noise(image: Image) -> Image:
    """Some samples get additive noise, some multiplicative speckle, some both from one source."""
    deviation = 0.06 * uniform(image).square() * (uniform(image) < 0.5)
    speckle = 0.35 * uniform(image) * (uniform(image) < 0.1)
    return image + torch.randn_like(image[:, :1]) * (deviation + speckle * image)


def soften(image: Image) -> Image:
    """Some samples are blurred."""
    share = uniform(image) * (uniform(image) < 0.35)
    return torch.lerp(image, gaussian_blur(image, 1.6), share)


def uneven_light(image: Image) -> Image:
    """Some samples get a smooth random gain and bias."""
    coarse = torch.randn(len(image), 2, 4, 4, device=image.device)
    field = F.interpolate(coarse, image.shape[-2:], mode="bicubic", align_corners=False)
    strength = 0.3 * uniform(image) * (uniform(image) < 0.4)
    return image * (1 + strength * field[:, :1]) + 0.6 * strength * field[:, 1:]


def foreign_patch(image: Image) -> Image:
    """Some samples get a rectangle of the next sample: content that only one image has."""
    height, width = image.shape[-2:]
    x = torch.arange(width, device=image.device).view(1, 1, 1, -1) / width
    y = torch.arange(height, device=image.device).view(1, 1, -1, 1) / height
    within_x = (x - uniform(image)).abs() < uniform(image, 0.05, 0.2)
    within_y = (y - uniform(image)).abs() < uniform(image, 0.05, 0.2)
    chosen = uniform(image) < 0.2
    return torch.where(within_x & within_y & chosen, image.roll(1, 0), image)


def colour_jitter(image: Image) -> Image:
    """Random brightness, contrast and colour balance."""
    gain = 1 + torch.randn(len(image), 3, 1, 1, device=image.device) * 0.1
    contrast = torch.exp(normal(image, 0.25))
    return (image * gain - 0.5) * contrast + 0.5 + normal(image, 0.08)


DEGRADATIONS: dict[str, Callable[[Image], Image]] = {
    "blur": soften,
    "uneven light": uneven_light,
    "foreign patch": foreign_patch,
    "noise": sensor_noise,
}


def degrade(image: Image) -> Image:
    """What sensors and scenes do to any picture: all ``DEGRADATIONS``, one after another."""
    for stage in DEGRADATIONS.values():
        image = stage(image)
    return image.clamp(0, 1)
