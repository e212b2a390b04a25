"""Random renderings that turn one photo into the picture of another "sensor".

All functions take and give batches ``(b, c, h, w)`` in [0, 1]; every sample of a batch draws its
own parameters from the device's default generator, and nothing waits for the device.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Image = Float[Tensor, "b c h w"]


def uniform(image: Tensor, low: float = 0.0, high: float = 1.0) -> Float[Tensor, "b 1 1 1"]:
    """One number a sample, uniform in [low, high]."""
    return torch.rand(len(image), 1, 1, 1, device=image.device) * (high - low) + low


def normal(image: Tensor, deviation: float = 1.0) -> Float[Tensor, "b 1 1 1"]:
    """One number a sample, normally distributed."""
    return torch.randn(len(image), 1, 1, 1, device=image.device) * deviation


def one_of(image: Tensor, shares: list[float], options: list[Tensor]) -> Tensor:
    """For each sample one of the options, chosen with the given shares (they sum to 1)."""
    draw, chosen, bound = uniform(image), options[-1], 1.0 - shares[-1]
    for share, option in zip(shares[-2::-1], options[-2::-1], strict=True):
        chosen = torch.where(draw < bound, option, chosen)
        bound -= share
    return chosen


def gaussian_blur(image: Image, sigma: float) -> Image:
    """Blur with a fixed standard deviation in pixels, reflecting at the border."""
    reach = max(2, math.ceil(2.5 * sigma))
    kernel = torch.exp(
        -0.5 * (torch.arange(-reach, reach + 1, device=image.device) / sigma).square()
    )
    kernel = (kernel / kernel.sum()).to(image.dtype)
    rows = image.flatten(0, 1)[:, None]
    rows = F.conv2d(F.pad(rows, (reach, reach, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    rows = F.conv2d(F.pad(rows, (0, 0, reach, reach), mode="reflect"), kernel.view(1, 1, -1, 1))
    return rows[:, 0].unflatten(0, image.shape[:2])


def project_colour(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Grey by random channel weights, now and then with negative ones."""
    draw = torch.randn(2, len(image), 3, 1, 1, device=image.device)
    signed = (uniform(image) < 0.15) * 0.6 * draw[1]
    return (image * (torch.softmax(draw[0] * 1.2, dim=1) + signed)).sum(1, keepdim=True).clamp(0, 1)


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

    return look_up(left) * (1 - share) + look_up(left + 1) * share


def power_curve(grey: Image) -> Image:
    """Random gamma."""
    return grey.clamp(min=1e-3) ** torch.exp(normal(grey, 0.5))


def tone(grey: Image) -> Image:
    """One of the tone curves, contrast reversal included."""
    power = power_curve(grey)
    options = [cosine_tone(grey), random_curve(grey), power, 1 - power]
    return one_of(grey, [0.25, 0.25, 0.25, 0.25], options)


def recolour_regions(first: Image, second: Image) -> Image:
    """Regions of alike values in two projections get values of their own."""
    colours = torch.rand(len(first), 32, device=first.device)
    coarse = (gaussian_blur(first, 1.0) * uniform(first, 3, 10) + uniform(first)).floor()
    fine = (gaussian_blur(second, 1.5) * uniform(first, 1.5, 5) + uniform(first)).floor()
    region = (coarse * 5 + fine).long().remainder(32)
    return colours.gather(1, region.flatten(1)).view_as(first)


def edge_rendering(grey: Image) -> Image:
    """Gradient magnitude, scaled by its own mean."""
    dx = F.pad(grey[..., 2:] - grey[..., :-2], (1, 1, 0, 0))
    dy = F.pad(grey[..., 2:, :] - grey[..., :-2, :], (0, 0, 1, 1))
    edges = (dx.square() + dy.square() + 1e-6).sqrt()
    return (edges / (edges.mean((2, 3), keepdim=True) * 5 + 1e-3)).clamp(0, 1)


def local_contrast(grey: Image) -> Image:
    """Deviation from the local mean by the local deviation, reversed in some samples."""
    mean = F.avg_pool2d(grey, 17, 1, 8, count_include_pad=False)
    spread = F.avg_pool2d((grey - mean).square(), 17, 1, 8, count_include_pad=False)
    sign = torch.sign(normal(grey) + 0.3)
    return (0.5 + 0.2 * sign * (grey - mean) / (spread + 1e-3).sqrt()).clamp(0, 1)


def pseudo_modality(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """A grey picture of the same scene as another sensor might see it."""
    first, second = project_colour(image), project_colour(image)
    soft = one_of(
        first, [0.34, 0.33, 0.33], [first, gaussian_blur(first, 1.0), gaussian_blur(first, 2.0)]
    )
    toned = tone(soft)
    regions = torch.lerp(toned, recolour_regions(first, second), uniform(image, 0.3, 1.0))
    edges = torch.lerp(edge_rendering(soft), toned, uniform(image, 0.0, 0.5))
    return one_of(first, [0.5, 0.3, 0.1, 0.1], [toned, regions, edges, local_contrast(first)])


def sensor_noise(image: Image) -> Image:
    """Some samples get additive noise, some multiplicative speckle."""
    deviation = 0.06 * uniform(image).square() * (uniform(image) < 0.5)
    speckle = 0.35 * uniform(image) * (uniform(image) < 0.1)
    image = image + torch.randn_like(image[:, :1]) * deviation
    return image * (1 + torch.randn_like(image[:, :1]) * speckle)


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


def degrade(image: Image) -> Image:
    """What sensors and scenes do to any picture."""
    stages: list[Callable[[Image], Image]]
    stages = [soften, uneven_light, foreign_patch, sensor_noise]
    for stage in stages:
        image = stage(image)
    return image.clamp(0, 1)
