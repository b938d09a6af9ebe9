"""Files that are no pictures, or must not be taken for one: (name, bytes, what the reason says)."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from corpus import expected as look
from corpus import writers as write
from corpus.writers import of, saved

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 16\n%%EndComments\nshowpage\n%%EOF\n"


def files(rng: np.random.Generator) -> Iterator[tuple[str, bytes, str]]:
    """Every kind of bad file."""
    yield from _no_pictures(rng)
    yield from _other_formats(rng)
    yield from _bombs(rng)
    yield from _truncated(rng)
    yield from _damaged(rng)


def _no_pictures(rng: np.random.Generator) -> Iterator[tuple[str, bytes, str]]:
    yield "empty.jpg", b"", "empty"
    page = b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head><body>no</body></html>"
    yield "page.jpg", page, "HTML"
    yield "page-mark.png", b"\xef\xbb\xbf  \r\n" + page, "HTML"
    yield "drawing.svg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "HTML or XML"
    texts = {
        "byte.jpg": b"\xff",
        "start.jpg": b"\xff\xd8\xff",
        "text.jpg": b"not a picture",
        "answer.jpg": b'{"error": "too many requests"}',
        "zeros.jpg": bytes(5000),
        "noise.jpg": b"\0" + rng.integers(0, 256, 5000, np.uint8).tobytes(),
        "signature.png": b"\x89PNG\r\n\x1a\n",
        "signature.gif": b"GIF89a",
        "signature.webp": b"RIFF\x10\0\0\0WEBPVP8 ",
        "signature.tif": b"II*\0\x08\0\0\0",
        "signature.bmp": b"BM",
        "signature.jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
        "signature.avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miafMA1B",
        "signature.ico": b"\0\0\1\0\0\0",
        "signature.ppm": b"P6",
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    }
    for name, data in texts.items():
        yield name, data, "cannot be decoded: "


def _other_formats(rng: np.random.Generator) -> Iterator[tuple[str, bytes, str]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.png", saved(of(look.noise(rng)), "PNG"))
    yield "heic.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "pillow-heif"
    others = {
        "eps.eps": EPS,
        "eps.jpg": EPS,
        "eps-binary.jpg": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(EPS), 0, 0, 0, 0, 0) + EPS,
        "pdf.jpg": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF",
        "photoshop.psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 16, 24, 8, 3) + bytes(2000),
        "wmf.jpg": b"\xd7\xcd\xc6\x9a" + bytes(100),
        "emf.png": b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(200),
        "fits.jpg": b"SIMPLE  =                    T" + b" " * 2850,
        "zip.jpg": archive.getvalue(),
        "packed.jpg": gzip.compress(saved(of(look.noise(rng)), "PNG")),
        "video.jpg": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(500),
        "xl.jxl": b"\xff\x0a\xfa\x1f" + bytes(100),
        "bitmap.xbm": b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {0x01};",
        **{
            f"other.{format.lower()}": saved(of(look.noise(rng)), format)
            for format in ("TGA", "PCX", "SGI", "DDS", "ICNS", "QOI", "PDF", "EPS")
        },
    }
    for name, data in others.items():
        yield name, data, "cannot be decoded: it is none of"


def _bombs(rng: np.random.Generator) -> Iterator[tuple[str, bytes, str]]:
    pixel = np.zeros((1, 1, 1), np.uint8)
    for side in (10_000, 50_000, 2**31 - 1):
        header = write.chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        start = b"\x89PNG\r\n\x1a\n" + header
        yield f"bomb-{side}.png", start + write.png(pixel, 8, 0)[33:], "pixels"
    wide = struct.pack("<HH", 65535, 65535)
    yield "bomb.gif", b"GIF89a" + wide + saved(of(look.noise(rng, 1)[..., 0]), "GIF")[10:], "pixels"
    yield "bomb.ppm", b"P6 99999 99999 255\n", "pixels"
    strips = {"bomb.tif": b"\0", "sparse.tif": bytes(64)}
    for name, raw in strips.items():
        yield name, write.tiff_of_bytes(raw, (60_000, 60_000, 1), (8, 1, 1)), "pixels"
    bitmap = bytearray(saved(of(look.noise(rng)), "BMP"))
    bitmap[18:26] = struct.pack("<ii", 60_000, 60_000)
    yield "bomb.bmp", bytes(bitmap), "pixels"
    webp = bytearray(saved(of(look.noise(rng, 4)), "WEBP", quality=50))
    webp[24:30] = b"\xff\x3f\0\xff\x3f\0"  # the canvas of VP8X: 16384 x 16384
    yield "bomb.webp", bytes(webp), "pixels"
    text = write.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(40_000_000), 9))
    yield "bomb-text.png", write.png(look.noise(rng), 8, 2, before=text), "large"
    profile = write.chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(40_000_000), 9))
    yield "bomb-profile.png", write.png(look.noise(rng), 8, 2, before=profile), "large"


def _truncated(rng: np.random.Generator) -> Iterator[tuple[str, bytes, str]]:
    whole = {
        "jpg": saved(of(look.smooth(rng)), "JPEG", quality=95),
        "progressive.jpg": saved(of(look.smooth(rng)), "JPEG", quality=95, progressive=True),
        "png": saved(of(look.noise(rng)), "PNG"),
        "gif": saved(of(look.noise(rng, 1)[..., 0]), "GIF"),
        "webp": saved(of(look.noise(rng)), "WEBP", lossless=True),
        "lossy.webp": saved(of(look.smooth(rng)), "WEBP"),
        "bmp": saved(of(look.noise(rng)), "BMP"),
        "tif": saved(of(look.noise(rng)), "TIFF"),
        "lzw.tif": saved(of(look.noise(rng)), "TIFF", compression="tiff_lzw"),
        "ppm": saved(of(look.noise(rng)), "PPM"),
        "avif": saved(of(look.smooth(rng)), "AVIF"),
        "jp2": saved(of(look.noise(rng)), "JPEG2000"),
        "ico": saved(of(look.noise(rng)), "ICO", sizes=[(look.WIDTH, look.HEIGHT)]),
    }
    for ending, data in whole.items():
        for percent in (5, 25, 50, 75, 90):
            yield f"cut{percent}.{ending}", data[: len(data) * percent // 100], "cannot be decoded: "


def _damaged(rng: np.random.Generator) -> Iterator[tuple[str, bytes, str]]:
    """Broken where the pixels are, or of a depth that nothing here reads."""
    jpeg = saved(of(look.smooth(rng)), "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    twelve = jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :]
    yield "twelve-bits.jpg", twelve, "cannot be decoded: "
    yield "lossless.jpg", jpeg[: frame + 1] + b"\xc3" + jpeg[frame + 2 :], "cannot be decoded: "
    yield "no-tables.jpg", write.without_segments(jpeg, 0xDB), "cannot be decoded: "
    yield "two-bands.jpg", jpeg[: frame + 9] + b"\2" + jpeg[frame + 10 :], "cannot be decoded: "
    values = look.noise(rng)
    png = write.png(values, 8, 2)
    place = png.index(b"IDAT")
    yield "pixels.png", png[: place + 10] + bytes(20) + png[place + 30 :], "cannot be decoded: "
    yield "header.png", png[:17] + b"\1" + png[18:], "cannot be decoded: "
    yield "no-palette-depth.png", write.png(values, 8, 5), "cannot be decoded: "
    yield "no-pixels.ppm", b"P6 0 0 255\n", "cannot be decoded: "
    half = rng.random((look.HEIGHT, look.WIDTH, 3)).astype(np.float32)
    yield "float-colours.tif", write.tiff(half, 2), "cannot be decoded: "
    yield "raw.nef", write.tiff(look.noise(rng), 2, t254=("I", (1,)), t330=("I", (8,))), "raw file of a camera"
    coarse = {"t530": ("H", (2, 2))}  # two by two pixels share a colour
    data = write.tiff_of_bytes(bytes(2000), (look.WIDTH, look.HEIGHT, 3), (8, 1, 6), **coarse)
    yield "coarse-colours.tif", data, "coarser colours"
    yield "words.ppm", b"P3 24 16 255\nred green blue\n", "cannot be decoded: "
