"""Files that Pillow cannot write, byte by byte: PNG and TIFF of any depth, BMP of 16 bits, colour profiles."""

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


# Columns are red, green and blue in XYZ, seen under D50, the light of all profiles (Bruce Lindbloom's tables).
SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
ADOBE = np.array(
    [[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]]
)
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
D50 = (0.9642, 1.0, 0.8249)


def srgb_light(values: np.ndarray) -> np.ndarray:
    """sRGB from 0 to 1 as amounts of light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_levels(light: np.ndarray) -> np.ndarray:
    """Amounts of light as sRGB, uint8."""
    light = light.clip(0, 1)
    return (
        (255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))
        .round()
        .astype(np.uint8)
    )


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _curve(light: np.ndarray) -> bytes:
    values = (light * 65535).round().astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + values.tobytes()


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", device: bytes = b"mntr") -> bytes:
    """An ICC profile of version 2 with these tags and a white point."""
    text = b"made for a test"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * 80
    tags = {b"desc": description, b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50), **tags}
    table, content, start = b"", b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value
    head = struct.pack(">I4sI4s4s4s", start + len(content), b"test", 0x02200000, device, space, connection)
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + _fixed(*D50) + b"\0" * 48
    return head + struct.pack(">I", len(tags)) + table + content


def rgb_profile(primaries: np.ndarray, light: np.ndarray) -> bytes:
    """A profile of red, green and blue (columns of XYZ); `light`: what equally spaced levels give, from 0 to 1."""
    columns = {
        name: b"XYZ \0\0\0\0" + _fixed(*primaries[:, band])
        for band, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    return profile(b"RGB ", {**columns, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(light))})


def grey_profile(light: np.ndarray) -> bytes:
    """A profile of greys; `light` as for `rgb_profile`."""
    return profile(b"GRAY", {b"kTRC": _curve(light)})


def cmyk_profile() -> bytes:
    """A profile of a printer whose inks are rather dull: its 16 full mixtures as Lab, and what lies between."""
    ramp = bytes(range(256))
    mixtures = b""
    for number in range(16):
        cyan, magenta, yellow, black = ((number >> shift) & 1 for shift in (3, 2, 1, 0))
        lightness = 240 * (1 - 0.3 * cyan) * (1 - 0.35 * magenta) * (1 - 0.08 * yellow) * (1 - 0.85 * black)
        spread = 1 - 0.9 * black
        green_red = 128 + spread * (-35 * cyan + 65 * magenta - 5 * yellow)
        blue_yellow = 128 + spread * (-45 * cyan - 5 * magenta + 80 * yellow)
        mixtures += bytes((round(lightness), round(green_red), round(blue_yellow)))
    table = b"mft1\0\0\0\0\4\3\2\0" + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + mixtures + ramp * 3
    return profile(b"CMYK", {b"A2B0": table}, connection=b"Lab ", device=b"prtr")
