"""How large an image may be, before anything is decoded."""

from sdme.config import MAX_PIXELS

MAX_BYTES = 8 * MAX_PIXELS


def too_large(width: int, height: int, size: int = 0) -> str | None:
    """What is wrong with an image of so many pixels and ``size`` decoded bytes; None if nothing."""
    if width * height <= MAX_PIXELS and size <= MAX_BYTES:
        return None
    return (
        f"{width}x{height} px ({size / 1e9:.1f} GB decoded); at most {MAX_PIXELS // 1_000_000} "
        f"million pixels and {MAX_BYTES / 1e9:.1f} GB are read: shrink or crop it"
        if size
        else f"{width}x{height} px; at most {MAX_PIXELS // 1_000_000} million pixels are read: "
        "shrink or crop it"
    )
