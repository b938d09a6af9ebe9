"""Files that Pillow cannot write, byte by byte: PNG and TIFF of any depth, BMP of 16 bits."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def saved(picture: Image.Image, format: str, **options: object) -> bytes:
    """A picture as Pillow encodes it."""
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def of(array: np.ndarray, mode: str | None = None) -> Image.Image:
    """uint8 (H, W) or (H, W, bands) as a picture, of another `mode` than the bands suggest if one is given."""
    if mode in (None, "L", "RGB", "LA", "RGBA"):
        return Image.fromarray(array)
    bands = [Image.fromarray(array[..., band]) for band in range(array.shape[2])]
    return Image.merge(mode, bands)


def chunk(kind: bytes, content: bytes, checksum: int = 0) -> bytes:
    """A chunk of a PNG; a `checksum` other than 0 is added to the right one."""
    crc = (zlib.crc32(kind + content) + checksum) & 0xFFFFFFFF
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def packed(array: np.ndarray, depth: int) -> list[bytes]:
    """The rows of (H, W, bands) with `depth` bits a sample, big-endian, each padded to a byte."""
    rows = array.reshape(len(array), -1)
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in rows]
    bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
    return [np.packbits(row.reshape(-1)).tobytes() for row in bits]


def png(array: np.ndarray, depth: int, kind: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """Samples (H, W, bands) as PNG of a colour type (0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA).

    `before` and `after` are chunks on either side of the pixels.
    """
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in packed(array, depth)))
    parts = [chunk(b"IHDR", header), before, chunk(b"IDAT", pixels), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(array: np.ndarray, photometric: int, order: str = "<", planar: bool = False, **tags: object) -> bytes:
    """Numbers (H, W, bands) as an uncompressed TIFF of one strip, or one for each band where it is `planar`.

    Further tags are given as t277=(type, values), where the type is one of struct's letters.
    """
    height, width, bands = array.shape
    bits = array.dtype.itemsize * 8
    sample_format = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    raw = np.ascontiguousarray(array.transpose(2, 0, 1) if planar else array)
    return tiff_of_bytes(
        raw.astype(raw.dtype.newbyteorder(order)).tobytes(),
        (width, height, bands),
        (bits, sample_format, photometric),
        order,
        bands if planar else 1,
        **tags,
    )


def tiff_of_bytes(
    raw: bytes, shape: tuple[int, int, int], kind: tuple[int, int, int], order: str = "<", strips: int = 1, **tags
) -> bytes:
    """Bytes as a TIFF of a shape (width, height, bands) and a kind (bits, sample format, photometric)."""
    width, height, bands = shape
    bits, sample_format, photometric = kind
    size = len(raw) // strips
    entries = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,) * bands),
        259: ("H", (1,)),
        262: ("H", (photometric,)),
        273: ("I", tuple(8 + size * strip for strip in range(strips))),
        277: ("H", (bands,)),
        278: ("I", (height,)),
        279: ("I", (size,) * strips),
        284: ("H", (2 if strips > 1 else 1,)),
        339: ("H", (sample_format,) * bands),
        **{int(name[1:]): value for name, value in tags.items()},
    }
    raw += b"\0" * (len(raw) % 2)
    start = 8 + len(raw)
    directory, beyond = struct.pack(order + "H", len(entries)), b""
    for tag, (letter, values) in sorted(entries.items()):
        content = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(content) > 4:
            place = start + 2 + 12 * len(entries) + 4 + len(beyond)
            beyond += content + b"\0" * (len(content) % 2)
            content = struct.pack(order + "I", place)
        number = {"B": 1, "H": 3, "I": 4, "u": 7}[letter]
        directory += struct.pack(order + "HHI", tag, number, len(values)) + content.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", start)
    return head + raw + directory + b"\0\0\0\0" + beyond


def bmp16(array: np.ndarray, green_bits: int, top_down: bool = False) -> bytes:
    """uint8 (H, W, 3) as BMP of 16 bits a pixel: 5, `green_bits` (5 or 6), 5."""
    height, width = array.shape[:2]
    red, green, blue = (array[..., band].astype(np.uint32) for band in range(3))
    pixels = (red >> 3) << (5 + green_bits) | (green >> (8 - green_bits)) << 5 | blue >> 3
    rows = pixels.astype("<u2") if top_down else pixels.astype("<u2")[::-1]
    masks = (0xF800, 0x7E0, 0x1F) if green_bits == 6 else (0x7C00, 0x3E0, 0x1F)
    content = b"".join(row.tobytes() + b"\0" * (-2 * width % 4) for row in rows)
    size = (width, -height if top_down else height)
    header = struct.pack("<IiiHHIIiiII", 40, *size, 1, 16, 3, len(content), 2835, 2835, 0, 0)
    start = 14 + len(header) + 12
    head = b"BM" + struct.pack("<IHHI", start + len(content), 0, 0, start)
    return head + header + struct.pack("<III", *masks) + content


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment right behind its start."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]


def without_segments(jpeg: bytes, marker: int) -> bytes:
    """A JPEG without its segments of a marker."""
    kept, place = jpeg[:2], 2
    while jpeg[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
        kept += jpeg[place:end] if jpeg[place + 1] != marker else b""
        place = end
    return kept + jpeg[place:]


def exif(orientation: int) -> bytes:
    """EXIF that says how a picture lies."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()
