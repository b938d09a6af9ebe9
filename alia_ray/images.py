"""Encoded bytes to RGB pictures and back."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from alia_ray.decoding import opening, storing
from alia_ray.decoding.colour import to_rgb
from alia_ray.decoding.opening import DecodeError

__all__ = [
    "DecodeError",
    "Shape",
    "decode_rgb",
    "encode",
    "file_ending",
    "fit_square",
    "from_array",
    "plain_rgb",
    "squeeze",
    "to_array",
]

Shape = tuple[int, int]
"""Width and height in pixels."""

_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_rgb(encoded: bytes) -> Image.Image:
    """Decode a picture of any mode to RGB as a viewer shows it; docs/datasets.md has a table of all kinds.

    The first frame or page, upright, in sRGB, transparency laid on white. Damaged EXIF and colour profiles are
    ignored. Raises DecodeError, and nothing else, for what cannot be decoded: truncated files, decompression bombs
    and formats that are not in `opening.FORMATS` included.
    """
    with _only_decode_errors(encoded):
        return _decode(encoded)[1]


def plain_rgb(encoded: bytes) -> tuple[bytes, Image.Image]:
    """Bytes to keep of a picture, and the picture as `decode_rgb` gives it.

    The bytes are the source's where every reader sees the same in them (`storing.keeps`). Else they are a new
    encoding: exact for a lossless source, for a lossy one of its own kind and quality, so that decoding them gives
    the picture but for one more loss. An id must therefore hash the picture, which is the source's: it depends on
    no encoder, and is the same in every run. The bytes are the same for the same version of Pillow.
    Raises DecodeError.
    """
    with _only_decode_errors(encoded):
        opened, picture = _decode(encoded)
        if not storing.keeps(opened.picture, picture):
            return storing.encode_anew(opened.encoded, opened.picture, picture), picture
        is_sound = opened.orientation is not None
        return (opened.encoded if is_sound else _without_metadata(opened.encoded, picture)), picture


def file_ending(encoded: bytes) -> str:
    """What a file of these bytes, of one of the formats that tables hold, is called by: jpg, png or webp."""
    with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG", "WEBP")) as picture:
        return storing.ENDINGS[picture.format]


def _decode(encoded: bytes) -> tuple[opening.Opened, Image.Image]:
    """The picture as it is stored, and as it is seen."""
    opened = opening.load(encoded)
    picture = to_rgb(opened.picture)
    turn = _TURNS.get(opened.orientation)
    return opened, picture if turn is None else picture.transpose(turn)


def _without_metadata(encoded: bytes, picture: Image.Image) -> bytes:
    """The same picture without EXIF that is damaged, which would stop who reads it, if it can be taken out."""
    bare = opening.without_metadata(encoded)
    try:
        return bare if decode_rgb(bare) == picture else encoded
    except DecodeError:
        return encoded


@contextmanager
def _only_decode_errors(encoded: bytes) -> Iterator[None]:
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:
        # Bad bytes make Pillow's parsers raise whatever comes: OSError and SyntaxError, but also struct.error,
        # TypeError, KeyError, OverflowError, MemoryError, zlib.error. No list holds for Pillow's next version.
        raise DecodeError(f"cannot be decoded: {opening.reason(encoded, error)}") from error


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


def squeeze(picture: Image.Image, shape: Shape) -> Image.Image:
    """The whole picture in a shape, width and height; one that has it stays as it is."""
    return picture if picture.size == shape else picture.resize(shape, Image.Resampling.BICUBIC)


def to_array(picture: Image.Image) -> np.ndarray:
    """An RGB picture as float32 (3, H, W) in [0, 1]."""
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255


def from_array(values: np.ndarray) -> Image.Image:
    """Float (3, H, W) in [0, 1] as an RGB picture."""
    bands = (values * 255).round().clip(0, 255).astype(np.uint8)
    # Pillow lays the bands side by side in an eighth of numpy's time.
    return Image.merge("RGB", [Image.fromarray(band) for band in bands])
