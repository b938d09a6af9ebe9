"""Encoded bytes to RGB pictures and back."""

import io
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageOps

_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,  # what Pillow raises for some broken PNG files
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class DecodeError(ValueError):
    """Bytes that are not a picture. The message says why."""


def decode_rgb(encoded: bytes) -> Image.Image:
    """Decode a picture of any mode to RGB, the right way up.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8.
    Raises DecodeError for anything that cannot be decoded, truncated files and decompression bombs included.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(encoded))
            picture.load()
            return _to_rgb(ImageOps.exif_transpose(picture))
    except _UNREADABLE as error:
        raise DecodeError(f"cannot be decoded: {error or type(error).__name__}") from error


def plain_rgb(encoded: bytes) -> tuple[bytes, Image.Image]:
    """Bytes of an upright RGB picture, and the picture: the same bytes where they already are that, else PNG.

    Raises DecodeError.
    """
    picture = decode_rgb(encoded)
    with Image.open(io.BytesIO(encoded)) as stored:
        upright = stored.getexif().get(ExifTags.Base.Orientation, 1) == 1
        is_plain = stored.mode == "RGB" and not stored.has_transparency_data and upright
        keeps = is_plain and stored.format in ("JPEG", "PNG", "WEBP")
    return (encoded if keeps else encode(picture)), picture


def file_ending(encoded: bytes) -> str:
    """What a file of these bytes, of one of the formats that tables hold, is called by: jpg, png or webp."""
    with Image.open(io.BytesIO(encoded)) as picture:
        return {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}[picture.format]


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(picture))).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def _to_8_bit(grey: np.ndarray) -> np.ndarray:
    """Scale by what the numbers can hold: 16 bits where any is over 255, else 8."""
    scale = 257.0 if grey.max() > 255 else 1.0
    return np.clip(grey / scale, 0, 255).astype(np.uint8)


def encode(picture: Image.Image, format: str = "png") -> bytes:
    """Encode a picture as "png" (lossless), "jpeg" or "webp" (quality 95)."""
    buffer = io.BytesIO()
    options = {} if format == "png" else {"quality": 95}
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def fit_square(picture: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` pixels and crop the middle; a square of that size stays as it is."""
    if picture.size == (size, size):
        return picture
    return ImageOps.fit(picture, (size, size), method=Image.Resampling.BICUBIC)


def squeeze(picture: Image.Image, shape: tuple[int, int]) -> Image.Image:
    """The whole picture in a shape, width and height; one that has it stays as it is."""
    return picture if picture.size == shape else picture.resize(shape, Image.Resampling.BICUBIC)


def to_array(picture: Image.Image) -> np.ndarray:
    """An RGB picture as float32 (3, H, W) in [0, 1]."""
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255


def from_array(values: np.ndarray) -> Image.Image:
    """Float (3, H, W) in [0, 1] as an RGB picture."""
    return Image.fromarray((values.transpose(1, 2, 0) * 255).round().clip(0, 255).astype(np.uint8))
