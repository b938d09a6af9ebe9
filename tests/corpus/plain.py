"""Pictures that lose nothing, but for TIFF: PNG, GIF, BMP, icons, and the family of PPM."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from corpus import expected as look
from corpus import writers as write
from corpus.profiles import ADOBE_PROFILE
from corpus.writers import of, saved

Made = Iterator[tuple[str, bytes, np.ndarray, int]]
"""Names, bytes, how they look, and how far a pixel may be off, in levels of 255."""


def greys(rng: np.random.Generator) -> Made:
    """PNG of each depth, with alpha and with one transparent grey."""
    for depth in (1, 2, 4, 8, 16):
        values, white = look.noise(rng, 1, 2**depth), 2**depth - 1
        yield f"grey{depth}.png", write.png(values, depth, 0), look.grey(values, white), 0
        values = values[::-1]  # no picture is there twice
        clear = int(values[0, 0, 0])
        data = write.png(values, depth, 0, before=write.chunk(b"tRNS", struct.pack(">H", clear)))
        alpha = np.where(values[..., 0] == clear, 0, 255)
        yield f"grey{depth}-clear.png", data, look.on_white(look.grey(values, white), alpha), 0
    for depth in (8, 16):
        values, white = look.noise(rng, 2, 2**depth), 2**depth - 1
        seen = look.on_white(look.grey(values[..., 0], white), look.grey(values[..., 1], white)[..., 0])
        yield f"grey{depth}-alpha.png", write.png(values, depth, 4), seen, 1


def colours(rng: np.random.Generator) -> Made:
    """PNG in RGB of 8 and 16 bits, with alpha, with one transparent colour, interlaced, with chunks beside."""
    for depth in (8, 16):
        values, white = look.noise(rng, 4, 2**depth), 2**depth - 1
        levels = (values * (255 / white)).astype(np.uint8)
        yield f"rgb{depth}.png", write.png(values[..., :3], depth, 2), levels[..., :3], 1 if depth == 16 else 0
        yield f"rgba{depth}.png", write.png(values, depth, 6), look.on_white(levels[..., :3], levels[..., 3]), 1
        values, levels = values[::-1], levels[::-1]
        clear = struct.pack(">HHH", *map(int, values[0, 0, :3]))
        data = write.png(values[..., :3], depth, 2, before=write.chunk(b"tRNS", clear))
        is_clear = (values[..., :3] == values[0, 0, :3]).all(-1)
        yield f"rgb{depth}-clear.png", data, look.on_white(levels[..., :3], np.where(is_clear, 0, 255)), 1
    chunks = {
        "gamma": write.chunk(b"gAMA", struct.pack(">I", 100000)),
        "srgb": write.chunk(b"sRGB", b"\0"),
        "text": write.chunk(b"tEXt", b"Comment\0made for a test")
        + write.chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b" * 99)),
        "damaged-text": write.chunk(b"tEXt", b"Comment\0bad checksum", checksum=1),
        "damaged-profile": write.chunk(b"iCCP", b"a\0\0" + zlib.compress(ADOBE_PROFILE), checksum=1),
        "unpacked-profile": write.chunk(b"iCCP", b"a\0\0no zlib"),
        "short-gamma": write.chunk(b"gAMA", b"\0"),
        "private": write.chunk(b"prVt", bytes(50)),
    }
    for name, before in chunks.items():
        values = look.noise(rng)
        yield f"{name}.png", write.png(values, 8, 2, before), values, 0
    values = look.noise(rng)
    yield "text-behind.png", write.png(values, 8, 2, after=write.chunk(b"tEXt", b"a\0b")), values, 0
    values = look.noise(rng)
    yield "rubbish-behind.png", write.png(values, 8, 2) + bytes(range(256)) * 4, values, 0
    values = look.noise(rng)
    frames = [of(look.noise(rng)), of(look.noise(rng))]
    yield "animated.png", saved(of(values), "PNG", save_all=True, append_images=frames), values, 0


def palettes(rng: np.random.Generator) -> Made:
    """PNG of 1 to 256 colours, opaque and with transparent entries; GIF and BMP alike."""
    for depth in (1, 2, 4, 8):
        indices, palette = look.noise(rng, 1, 2**depth), rng.integers(0, 256, (2**depth, 3)).astype(np.uint8)
        seen = palette[indices[..., 0]]
        chunks = write.chunk(b"PLTE", palette.tobytes())
        yield f"palette{depth}.png", write.png(indices, depth, 3, chunks), seen, 0
        alphas = rng.integers(0, 256, 2**depth).astype(np.uint8)
        for name, alpha in {"clear": np.where(np.arange(2**depth) == 1, 0, 255), "alphas": alphas}.items():
            more = chunks + write.chunk(b"tRNS", alpha.astype(np.uint8).tobytes())
            yield (
                f"palette{depth}-{name}.png",
                write.png(np.roll(indices, 1, 1), depth, 3, more),  # no picture is there twice
                np.roll(look.on_white(seen, alpha[indices[..., 0]]), 1, 1),
                1,
            )
        picture = Image.frombytes("P", (look.WIDTH, look.HEIGHT), indices.tobytes())
        picture.putpalette(palette.tobytes())
        mirrored, flipped, around = picture.transpose(0), picture.transpose(1), picture.transpose(3)
        yield f"palette{depth}.gif", saved(mirrored, "GIF"), seen[:, ::-1], 0
        yield f"palette{depth}.bmp", saved(flipped, "BMP"), seen[::-1], 0
        yield f"palette{depth}.tif", saved(around, "TIFF", compression="tiff_lzw"), seen[::-1, ::-1], 0
        clear = int(indices[3, 3, 0])
        seen = look.on_white(seen, np.where(indices[..., 0] == clear, 0, 255))
        yield f"palette{depth}-clear.gif", saved(mirrored, "GIF", transparency=clear), seen[:, ::-1], 0


def gifs(rng: np.random.Generator) -> Made:
    """GIF of greys, animated, and with a first frame that covers a part of the screen."""
    values = look.noise(rng, 1)
    yield "grey.gif", saved(of(values[..., 0]), "GIF", interlace=1), look.grey(values), 0
    values = look.noise(rng, 1)
    others = [of(look.noise(rng, 1)[..., 0]) for _ in range(3)]
    yield (
        "animated.gif",
        saved(of(values[..., 0]), "GIF", save_all=True, append_images=others),
        look.grey(values),
        0,
    )
    values = look.noise(rng, 1)
    data = bytearray(saved(of(values[..., 0]), "GIF"))
    data[6:10] = struct.pack("<HH", look.WIDTH + 7, look.HEIGHT + 5)  # of the screen
    place = data.index(b"," + struct.pack("<HHHH", 0, 0, look.WIDTH, look.HEIGHT))
    data[place + 1 : place + 5] = struct.pack("<HH", 4, 3)  # of the frame's corner
    seen = np.full((look.HEIGHT + 5, look.WIDTH + 7, 3), 255, np.uint8)
    seen[3 : 3 + look.HEIGHT, 4 : 4 + look.WIDTH] = look.grey(values)
    yield "a-part.gif", bytes(data), seen, 0


def bmps(rng: np.random.Generator) -> Made:
    """BMP of 1 to 32 bits, DIB in an icon among them, and the icon of a PNG."""
    values = look.noise(rng)
    yield "rgb.bmp", saved(of(values), "BMP"), values, 0
    values = look.noise(rng, 4)
    yield "padded.bmp", saved(of(values), "BMP"), values[..., :3], 0  # what Pillow writes has no mask of alpha
    values = look.noise(rng, 1)
    yield "grey.bmp", saved(of(values[..., 0]), "BMP"), look.grey(values), 0
    values = look.noise(rng, 1, 2)
    yield "bits.bmp", saved(of(values[..., 0] * 255).convert("1"), "BMP"), look.grey(values, 1), 0
    for green in (5, 6):
        values = look.noise(rng)
        yield f"sixteen{green}.bmp", write.bmp16(values, green), values, 8
    values = look.noise(rng)
    yield "top-down.bmp", write.bmp16(values, 6, top_down=True), values, 8
    values = look.noise(rng)
    size = [(look.WIDTH, look.HEIGHT)]
    yield "png.ico", saved(of(values), "ICO", sizes=size), values, 0
    values = np.concatenate([look.noise(rng), look.noise(rng)], 1)[:, :32]  # of other widths Pillow writes no mask
    yield "bmp.ico", saved(of(values), "ICO", sizes=[(32, look.HEIGHT)], bitmap_format="bmp"), values, 0
    values = look.noise(rng, 4)
    data = saved(of(values), "ICO", sizes=size, bitmap_format="bmp")
    yield "bmp-alpha.ico", data, look.on_white(values[..., :3], values[..., 3]), 1


def netpbm(rng: np.random.Generator) -> Made:
    """The family of PPM, as text and as bytes, of several depths."""
    size = f"{look.WIDTH} {look.HEIGHT}"
    for depth in (255, 15, 1023, 65535):
        for bands, text, raw in ((1, "P2", "P5"), (3, "P3", "P6")):
            values = look.noise(rng, bands, depth + 1)
            seen = look.grey(values, depth) if bands == 1 else (values * (255 / depth)).round().astype(np.uint8)
            head = f"\n# made for a test\n{size}\n{depth}\n"
            lines = "\n".join(" ".join(map(str, row.reshape(-1))) for row in values)
            yield f"{text}-{depth}.ppm", f"{text}{head}{lines}\n".encode(), seen, 1
            kind = ">u2" if depth > 255 else "u1"
            yield (
                f"{raw}-{depth}.ppm",
                f"{raw}{head}".encode() + values[::-1].astype(kind).tobytes(),
                seen[::-1],
                1,
            )
    values = look.noise(rng, 1, 2)
    text = "\n".join(" ".join(map(str, row.reshape(-1))) for row in values)
    yield "P1.pbm", f"P1\n{size}\n{text}\n".encode(), look.grey(1 - values, 1), 0
    values = look.noise(rng, 1, 2)
    yield "P4.pbm", f"P4\n{size}\n".encode() + b"".join(write.packed(values, 1)), look.grey(1 - values, 1), 0
    values = rng.random((look.HEIGHT, look.WIDTH), dtype=np.float32)
    yield "Pf.pfm", f"Pf\n{size}\n-1.0\n".encode() + values[::-1].astype("<f4").tobytes(), look.grey(values, 1), 1


MAKERS = (greys, colours, palettes, gifs, bmps, netpbm)
