"""What a picture that Pillow has read looks like on a screen: RGB of 8 bits in sRGB, on white.

Pillow's own `.convert("RGB")` clips deep greys, forgets transparency and never looks at a colour profile.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

_SRGB = ImageCms.createProfile("sRGB")
_INPUT_OF = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's colour space: the mode it is applied to
_AT_ONCE = 2**20  # pixels that are converted at a time: of a large picture numbers of 64 bits take gigabytes
_SAME = 3  # levels of 255 that a profile may differ from sRGB, as the many editions of sRGB itself do


def to_rgb(picture: ImageFile.ImageFile) -> Image.Image:
    """A loaded picture of any mode as new RGB pixels, without metadata; it is not turned.

    Greys are scaled by the depth that their format states, a colour profile is converted to sRGB, and what is
    transparent is laid on white.
    """
    colour, alpha = _colour_and_alpha(picture)
    rgb = _in_srgb(colour, picture)
    if alpha is not None:
        rgb.putalpha(alpha)
        rgb = Image.alpha_composite(Image.new("RGBA", rgb.size, "white"), rgb).convert("RGB")
    rgb.info = {}  # a profile that has been applied must not be saved with what is made of these pixels
    extent = getattr(picture, "dispose_extent", None)  # of a GIF whose first frame leaves some of the screen free
    if picture.format == "GIF" and extent and extent != (0, 0, *rgb.size):
        frame, rgb = rgb.crop(extent), Image.new("RGB", rgb.size, "white")
        rgb.paste(frame, extent)
    return rgb


def _colour_and_alpha(picture: ImageFile.ImageFile) -> tuple[Image.Image, Image.Image | None]:
    """A picture's pixels as L, RGB or CMYK of 8 bits, and how opaque each is (L), None for all."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = _values(picture)
        transparent = picture.info.get("transparency")
        is_clear = values == transparent if isinstance(transparent, int) else None
        alpha = None if is_clear is None else Image.fromarray(np.where(is_clear, np.uint8(0), np.uint8(255)))
        return _eight_bits(picture, values), alpha
    if picture.mode == "La":  # Pillow converts it to nothing else
        picture = picture.convert("LA")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    return (picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")), None


def _values(picture: ImageFile.ImageFile) -> np.ndarray:
    """The numbers (H, W) of a grey picture of more than 8 bits; Pillow reads uint32 as if it were signed."""
    values = np.asarray(picture)
    return values.view(np.uint32) if _tiff_sample(picture) == ("unsigned", 32) else values


def _tiff_sample(picture: ImageFile.ImageFile) -> tuple[str, int] | None:
    """What a TIFF's samples are: ("unsigned", 12), ("signed", 16) and alike; None for other formats."""
    if picture.format != "TIFF":
        return None
    kinds = {1: "unsigned", 2: "signed", 3: "float"}
    kind = picture.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0]
    return kinds[kind], picture.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]


def _eight_bits(picture: ImageFile.ImageFile, values: np.ndarray) -> Image.Image:
    """Greys of any depth as L: 0 is black, or white where a TIFF says so."""
    white = _white(picture, values)
    grey = np.empty(values.shape, np.uint8)
    rows = max(1, _AT_ONCE // values.shape[1])
    for top in range(0, len(values), rows):
        some = values[top : top + rows].astype(np.float64)
        grey[top : top + rows] = np.clip(np.nan_to_num(some, nan=0), 0, white) * 255 / white
    if picture.format == "TIFF" and picture.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
        grey = 255 - grey  # Pillow turns only greys of up to 8 bits around
    return Image.fromarray(grey)


def _white(picture: ImageFile.ImageFile, values: np.ndarray) -> float:
    """The number that is white.

    16 bits, 12 bits and 16 signed bits have theirs, so frames of one camera stay comparable. Numbers of 32 bits
    and floats have none that writers agree on: white is the first of 1 (floats), 255 and 65535 that holds the
    brightest pixel, else the most that the type holds, or the brightest pixel of floats.
    """
    kind, bits = _tiff_sample(picture) or ("unsigned", 16)
    if picture.mode != "F" and bits <= 16:
        return 2 ** (bits - (kind == "signed")) - 1
    brightest = values.max(initial=0, where=np.isfinite(values))
    for white in (1, 255, 65535):
        if brightest <= white and (white > 1 or picture.mode == "F"):
            return white
    return brightest if picture.mode == "F" else 2 ** (bits - (kind == "signed")) - 1


def _in_srgb(colour: Image.Image, picture: ImageFile.ImageFile) -> Image.Image:
    """L, RGB or CMYK as new RGB pixels in sRGB, by the picture's own profile if it has one that fits."""
    profile = picture.info.get("icc_profile")
    source = _to_srgb(profile) if isinstance(profile, bytes) else None
    fits = {
        "CMYK": colour.mode == "CMYK",
        "L": Image.getmodebase(picture.mode) == "L",
        "RGB": colour.mode != "CMYK",
    }
    if source is None or not fits[source[0]]:
        return colour.convert("RGB")
    mode, transform = source
    return ImageCms.applyTransform(colour.convert(mode), transform)


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """The mode that a profile applies to, and the way to sRGB; None where it is sRGB itself, or of no use."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _INPUT_OF[opened.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(opened, _SRGB, mode, "RGB")
        return None if _changes_nothing(mode, transform) else (mode, transform)
    except Exception:  # a damaged profile is ignored, however LittleCMS and Pillow stumble over it
        return None


def _changes_nothing(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether colours from all over the space stay what they are."""
    if mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 256 if mode == "L" else 16).astype(np.uint8)
    colours = levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    before = Image.fromarray(colours)
    after = ImageCms.applyTransform(before, transform)
    difference = np.asarray(after).astype(int) - np.asarray(before.convert("RGB"))
    return bool(np.abs(difference).max() <= _SAME)
