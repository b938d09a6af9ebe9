"""What is kept of a picture: the source's own bytes where others see it right, else a new encoding of its kind."""

import io
import re
from bisect import bisect
from functools import partial

import numpy as np
from PIL import Image, ImageChops, ImageFile, JpegImagePlugin

ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
"""The formats that tables hold. MPO is a JPEG with more pictures behind the first."""
_WEBP_SIDE = 16383  # pixels, the most that WebP can hold


def keeps(source: ImageFile.ImageFile, picture: Image.Image) -> bool:
    """Whether a source can stay as it is: a reader that only calls `.convert("RGB")` sees `picture` in it.

    So do torchvision's ImageFolder, webdataset and most others, which know neither EXIF nor profiles.
    """
    has_clear_colours = source.mode == "P" and source.has_transparency_data  # Pillow warns of each
    if source.format not in ENDINGS or source.size != picture.size or has_clear_colours:
        return False
    seen = source.convert("RGB")
    return ImageChops.difference(seen, picture).getbbox() is None


def encode_anew(encoded: bytes, source: ImageFile.ImageFile, picture: Image.Image) -> bytes:
    """A picture that was made of a source, in about as many bytes as the source: lossless sources exactly.

    JPEG keeps its tables and subsampling. WebP, AVIF, HEIC, JPEG 2000 and TIFF with lossy strips do not say what
    quality they have: they become WebP of the best quality that needs no more bytes than the source, but of no
    worse than 80 where the source is of a kind that does more with its bytes.
    """
    if source.format in ("JPEG", "MPO"):
        return _save(_fewest_bands(picture, indexed=False), "JPEG", optimize=True, **_jpeg_options(source))
    fits_webp = max(picture.size) <= _WEBP_SIDE
    if not _is_lossy(encoded, source):
        if source.format == "WEBP" and fits_webp:
            return _save(picture, "WEBP", lossless=True)
        return _save(_fewest_bands(picture, indexed=True), "PNG")
    qualities = range(30 if source.format == "WEBP" else 80, 100, 5)
    content = partial(_save, picture, "WEBP" if fits_webp else "JPEG")
    fitting = bisect(qualities, len(encoded), key=lambda quality: len(content(quality=quality)))
    return content(quality=qualities[max(fitting - 1, 0)])


def _jpeg_options(source: ImageFile.ImageFile) -> dict[str, object]:
    """How a JPEG was encoded; CMYK has no chroma to be sampled more coarsely."""
    return {
        "qtables": [source.quantization[key] for key in sorted(source.quantization)][:2],
        "subsampling": 0 if source.mode == "CMYK" else JpegImagePlugin.get_sampling(source),
        "progressive": "progression" in source.info,
    }


def _is_lossy(encoded: bytes, source: ImageFile.ImageFile) -> bool:
    if source.format == "WEBP":
        return re.search(rb"VP8[ L]", encoded).group() == b"VP8 "  # the first chunk of pixels
    if source.format == "JPEG2000":
        parameters = encoded.find(b"\xff\x52")  # COD; its last byte is 1 for the wavelet that loses nothing
        return encoded[parameters + 13 : parameters + 14] != b"\1"
    if source.format == "TIFF":
        return source.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return source.format in ("AVIF", "HEIF")


def _fewest_bands(picture: Image.Image, indexed: bool) -> Image.Image:
    """The same colours as grey where all are, else (`indexed`) by a palette where there are up to 256."""
    colours = [colour for _, colour in picture.getcolors(256) or []]
    is_grey = bool(colours) and all(red == green == blue for red, green, blue in colours)
    if is_grey and not (indexed and len(colours) <= 16):  # up to 16, indices take 4 bits or fewer
        return picture.convert("L")
    if not (indexed and colours):
        return picture
    colours.sort()
    packed = [red << 16 | green << 8 | blue for red, green, blue in colours]
    pixels = np.asarray(picture)
    indices = np.empty(pixels.shape[:2], np.uint8)
    for row, of_row in zip(indices, pixels, strict=True):  # a row at a time: numbers of 64 bits take eight bytes
        red, green, blue = np.moveaxis(of_row.astype(np.uint32), -1, 0)
        row[:] = np.searchsorted(packed, red << 16 | green << 8 | blue)
    small = Image.fromarray(indices, "P")
    small.putpalette(bytes(level for colour in colours for level in colour))
    return small


def _save(picture: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()
