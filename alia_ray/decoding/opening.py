"""Bytes of any kind to a picture that Pillow has read, of the formats that a training set can hold."""

import io
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
"""What is tried, whatever a file is called; no other of Pillow's parsers, one of which starts Ghostscript."""
MOST_PIXELS = 2**28 // 3
"""Of a picture, before any are allocated; Pillow's own limit is half as strict, and any library may lift it."""
MOST_BYTES = 2**28
"""Of an encoded picture: what its pixels have without compression."""
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_NEW_SUBFILE_TYPE = 254  # of TIFF; its last bit: the page is a smaller version of another
_NEEDED_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # of a PNG's pixels
_TRANSPARENCY = {b"\0": 2, b"\2": 6}  # bytes of a tRNS, of grey and of RGB by its type; viewers ignore others

# Pillow warns of damaged metadata, which nobody misses, and of bombs, which `_load` refuses.
warnings.filterwarnings("ignore", module=r"PIL\.")


class DecodeError(ValueError):
    """Bytes that are not a picture. The message says why."""


@dataclass(frozen=True)
class Opened:
    """A picture with its pixels as they are stored."""

    encoded: bytes  # what it was read from
    picture: ImageFile.ImageFile
    orientation: int | None  # EXIF's, from 1 to 8; None where EXIF is damaged


def load(encoded: bytes) -> Opened:
    """Read a picture, without its metadata where that is so damaged that Pillow cannot get at the pixels.

    A viewer does not care for such metadata. Raises DecodeError, or whatever Pillow raises.
    """
    if len(encoded) > MOST_BYTES:
        raise DecodeError(f"cannot be decoded: {len(encoded)} bytes are more than {MOST_BYTES}")
    failed: Exception | None = None
    for candidate in _candidates(encoded):
        try:
            picture = _load(candidate)
            return Opened(candidate, picture, _orientation(picture))
        except Exception as error:
            if _is_refused(error):
                raise
            failed = failed or error
    raise failed


def reason(encoded: bytes, error: Exception) -> str:
    """Why bytes cannot be decoded, in words for the table of errors."""
    if not encoded:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        if encoded.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
            return "it is HTML or XML, not a picture"
        looks_like = [name for name in FORMATS if Image.OPEN[name][1](encoded[:16])]
        return (
            f"its {looks_like[0]} header is damaged" if looks_like else f"it is none of {', '.join(FORMATS)}, HEIC"
        )
    if isinstance(error, (OSError, Image.DecompressionBombError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def without_metadata(encoded: bytes, keep_exif: bool = False) -> bytes:
    """A JPEG, PNG or AVIF with what its pixels need and nothing else; anything else unchanged."""
    if encoded.startswith(b"\xff\xd8\xff"):
        return _bare_jpeg(encoded, keep_exif)
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        return _bare_png(encoded, keep_exif)
    if encoded[4:12] == b"ftypavif":
        return encoded.replace(b"Exif", b"free", 1)  # the item's type, in the list of items, before any data
    return encoded


def _candidates(encoded: bytes) -> Iterator[bytes]:
    yield encoded
    bare = [without_metadata(encoded, keep_exif=True), without_metadata(encoded)]
    yield from dict.fromkeys(candidate for candidate in bare if candidate != encoded)


def _load(encoded: bytes) -> ImageFile.ImageFile:
    picture = _open(encoded)
    pixels = picture.width * picture.height
    if pixels > MOST_PIXELS:
        raise DecodeError(f"cannot be decoded: {pixels} pixels are more than {MOST_PIXELS}")
    if not pixels:
        raise DecodeError("cannot be decoded: it has no pixels")
    if picture.format == "PNG":
        _scale_transparency(picture, depth=encoded[24])
    if picture.format == "TIFF":
        _prepare_tiff(picture)
    picture.load()
    return picture


def _orientation(picture: ImageFile.ImageFile) -> int | None:
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's parser of EXIF checks nothing, so broken bytes raise anything
        return None


def _open(encoded: bytes) -> ImageFile.ImageFile:
    if not _is_heic(encoded):
        return Image.open(io.BytesIO(encoded), formats=FORMATS)
    try:
        import pillow_heif
    except ImportError as error:
        raise DecodeError(
            'cannot be decoded: it is HEIC, which needs `pip install "pillow-heif>=1.3"` on every node'
        ) from error
    pillow_heif.register_heif_opener()
    return Image.open(io.BytesIO(encoded), formats=("HEIF",))


def _is_heic(encoded: bytes) -> bool:
    """By the brands of the first box; AVIF has the same container."""
    box = encoded[: int.from_bytes(encoded[:4], "big")]
    brands = [box[start : start + 4] for start in range(8, min(len(box), 256), 4)]
    return box[4:8] == b"ftyp" and b"avif" not in brands and any(brand in _HEIC_BRANDS for brand in brands)


def _is_refused(error: Exception) -> bool:
    """Whether a picture is refused for what it is, not for broken metadata: then nothing is tried again."""
    is_bomb = isinstance(error, Image.DecompressionBombError) or "MAX_TEXT" in str(error)
    return is_bomb or isinstance(error, DecodeError | MemoryError)


def _scale_transparency(picture: ImageFile.ImageFile, depth: int) -> None:
    """Make a PNG's transparent colour one of the 8-bit pixels, which Pillow makes of every depth but grey's 16."""
    transparent = picture.info.get("transparency")
    if picture.mode == "L" and isinstance(transparent, int) and depth in (2, 4):
        picture.info["transparency"] = transparent * 255 // (2**depth - 1)
    if picture.mode == "RGB" and isinstance(transparent, tuple) and depth == 16:
        picture.info["transparency"] = tuple(value >> 8 for value in transparent)


def _prepare_tiff(picture: TiffImagePlugin.TiffImageFile) -> None:
    """Keep Pillow from what it does wrong. Raises DecodeError for what it would show, but not as it is."""
    if picture.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & 1:
        raise DecodeError(
            "cannot be decoded: it is the raw file of a camera, or a TIFF that begins with a thumbnail"
        )
    coarse = picture.tag_v2.get(TiffImagePlugin.YCBCRSUBSAMPLING, (1, 1)) != (1, 1)
    if coarse and picture.mode == "YCbCr":  # with compression it is RGB, by libtiff
        raise DecodeError("cannot be decoded: it is a TIFF of coarser colours without compression")
    exif = picture.getexif()
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        exif.pop(directory, None)  # it reads them after the pixels, and fails where they are damaged


def _bare_jpeg(encoded: bytes, keep_exif: bool) -> bytes:
    """Without application segments, but Adobe's and JFIF's, which say what the colours are."""
    kept, place = [encoded[:2]], 2
    while encoded[place : place + 1] == b"\xff":
        marker, length = encoded[place + 1], int.from_bytes(encoded[place + 2 : place + 4], "big")
        if marker == 0xDA or length < 2:  # pixels follow, or rubbish
            break
        segment = encoded[place : place + 2 + length]
        tells = segment[4:].startswith((b"JFIF\0", b"Adobe")) and length >= 14
        is_exif = keep_exif and segment[4:].startswith(b"Exif\0\0")
        if marker not in (*range(0xE0, 0xF0), 0xFE) or tells or is_exif:
            kept.append(segment)
        place += 2 + length
    return b"".join([*kept, encoded[place:]])


def _bare_png(encoded: bytes, keep_exif: bool) -> bytes:
    """Without chunks that say nothing of the pixels."""
    kept, place = [encoded[:8]], 8
    while place < len(encoded):
        length, kind = int.from_bytes(encoded[place : place + 4], "big"), encoded[place + 4 : place + 8]
        chunk = encoded[place : place + 12 + length]
        is_sound = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        fits = kind != b"tRNS" or length == _TRANSPARENCY.get(encoded[25:26], length)
        if (kind in _NEEDED_CHUNKS and fits) or (keep_exif and kind == b"eXIf" and is_sound):
            kept.append(chunk)
        place += 12 + length
    return b"".join(kept)
