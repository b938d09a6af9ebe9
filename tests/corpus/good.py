"""Pictures of every kind that a viewer shows: (name, bytes, how they look, how far a pixel may be off)."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from corpus import expected as look
from corpus import writers as write
from corpus.writers import of, saved

Made = Iterator[tuple[str, bytes, np.ndarray, int]]
LOSSY = 10
RAMP = np.linspace(0, 1, 1024)
ADOBE_PROFILE = write.rgb_profile(write.ADOBE, RAMP ** (563 / 256))
P3_PROFILE = write.rgb_profile(write.P3, write.srgb_light(RAMP))
SRGB_PROFILE = write.rgb_profile(write.SRGB, write.srgb_light(RAMP))
GREY_PROFILE = write.grey_profile(RAMP**1.8)
BROKEN_PROFILES = {
    "short": SRGB_PROFILE[:90],
    "rubbish": b"not a profile" * 20,
    "holes": SRGB_PROFILE[:300] + bytes(3000),
}
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
BROKEN_EXIF = {
    "cut": b"Exif\0\0II*\0",
    "rubbish": b"Exif\0\0 this is no EXIF at all",
    "far": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "count": b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\xff\xff\xff\xff\6\0\0\0",
    "type": b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\x02\0\0\0\1\6\0\0\0\0\0\0\0",
}


def _adobe(values: np.ndarray) -> np.ndarray:
    return look.from_primaries(values, write.ADOBE, (values / 255) ** (563 / 256))


def _p3(values: np.ndarray) -> np.ndarray:
    return look.from_primaries(values, write.P3, write.srgb_light(values / 255))


def _dim(values: np.ndarray) -> np.ndarray:
    """Greys whose light is their level to the power of 1.8."""
    return look.grey(write.srgb_levels((values / 255) ** 1.8))


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
                write.png(indices, depth, 3, more),
                look.on_white(seen, alpha[indices[..., 0]]),
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


def jpegs(rng: np.random.Generator) -> Made:
    """JPEG of each colour space and coding, with metadata sound and damaged."""
    ways = {
        "plain": {},
        "fine": {"quality": 95, "subsampling": 0},
        "rgb": {"keep_rgb": True},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_blocks": 2},
        "srgb": {"icc_profile": SRGB_PROFILE},
        "upright": {"exif": write.exif(1)},
        **{f"profile-{name}": {"icc_profile": broken} for name, broken in BROKEN_PROFILES.items()},
        **{f"exif-{name}": {"exif": broken} for name, broken in BROKEN_EXIF.items()},
        **{f"exif-dpi-{name}": {"exif": broken, "dpi": (72, 72)} for name, broken in BROKEN_EXIF.items()},
    }
    for name, options in ways.items():
        values = look.smooth(rng)
        yield f"{name}.jpg", saved(of(values), "JPEG", **{"quality": 92, **options}), values, LOSSY
    values = look.smooth(rng, 1)
    yield "grey.jpg", saved(of(values[..., 0]), "JPEG", quality=92), look.grey(values), LOSSY
    segments = {
        "short-jfif": (0xE0, b"JFIF\0\1"),
        "short-adobe": (0xEE, b"Adobe\0"),
        "short-profile": (0xE2, b"ICC_PROFILE\0"),
        "one-of-two-profiles": (0xE2, b"ICC_PROFILE\0\1\2" + ADOBE_PROFILE[:99]),
        "short-photoshop": (0xED, b"Photoshop 3.0\x008BIM\4\4"),
        "broken-mpf": (0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
        "comment": (0xFE, b"made for a test"),
        "xmp": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"),
    }
    for name, segment in segments.items():
        values = look.smooth(rng)
        yield f"{name}.jpg", write.with_segment(saved(of(values), "JPEG", quality=92), *segment), values, LOSSY
    values = look.smooth(rng)
    yield "rubbish-behind.jpg", saved(of(values), "JPEG", quality=92) + b"\0rubbish" * 50, values, LOSSY
    values = look.smooth(rng)
    yield (
        "two.mpo",
        saved(of(values), "MPO", quality=92, save_all=True, append_images=[of(look.smooth(rng))]),
        values,
        LOSSY,
    )
    values = look.smooth(rng)
    sideways = write.with_segment(
        saved(of(values), "JPEG", quality=92), 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP
    )
    yield "xmp-turned.jpg", sideways, look.upright(values, 6), LOSSY
    values = look.smooth(rng)
    broken = write.with_segment(saved(of(values), "JPEG", quality=92, exif=write.exif(6)), 0xE2, b"ICC_PROFILE\0")
    yield "turned-short-profile.jpg", broken, look.upright(values, 6), LOSSY


def inks(rng: np.random.Generator) -> Made:
    """CMYK: JPEG as Adobe writes it, without its marker, YCCK, by a profile; TIFF, which turns nothing around."""
    values, press = look.smooth(rng, 4), write.cmyk_profile()
    picture = of(values, "CMYK")
    adobe = saved(picture, "JPEG", quality=95)
    yield "cmyk.jpg", adobe, look.printed(values), LOSSY
    values = look.smooth(rng, 4)
    unmarked = write.without_segments(saved(of(values, "CMYK"), "JPEG", quality=95), 0xEE)
    yield "cmyk-no-marker.jpg", unmarked, look.printed(values), LOSSY
    values = look.smooth(rng, 4)
    yield "cmyk.tif", saved(of(values, "CMYK"), "TIFF"), look.printed(values), 1
    yield (
        "cmyk-lzw.tif",
        saved(of(values[::-1], "CMYK"), "TIFF", compression="tiff_lzw"),
        look.printed(values[::-1]),
        1,
    )
    values = look.smooth(rng, 4)
    yield (
        "cmyk-profile.tif",
        saved(of(values, "CMYK"), "TIFF", icc_profile=press),
        look.from_profile(values, press),
        1,
    )
    values = look.smooth(rng, 4)
    data = saved(of(values, "CMYK"), "JPEG", quality=95, icc_profile=press)
    yield "cmyk-profile.jpg", data, look.from_profile(values, press), LOSSY
    values = look.smooth(rng, 4)
    data = saved(of(values, "CMYK"), "JPEG", quality=95, icc_profile=ADOBE_PROFILE)
    yield "cmyk-other-profile.jpg", data, look.printed(values), LOSSY
    values = look.smooth(rng, 4)  # Y, Cb, Cr of the three inks, and black
    values[..., 1:3] = values[..., 1:3] // 4 + 96
    data = bytearray(
        saved(of(255 - values, "CMYK"), "JPEG", quality=95)
    )  # Pillow writes what is left of the paper
    data[data.index(b"Adobe") + 11] = 2  # the transform: YCCK
    mixed = np.concatenate([look.from_ycc(values[..., :3]), 255 - values[..., 3:]], -1)
    yield "ycck.jpg", bytes(data), look.printed(mixed), LOSSY


def profiles(rng: np.random.Generator) -> Made:
    """Pictures in Adobe RGB, Display P3 and greys of their own in all formats that hold profiles."""
    for format, ending, options in (
        ("PNG", "png", {}),
        ("TIFF", "tif", {}),
        ("JPEG", "jpg", {"quality": 95, "subsampling": 0}),
        ("WEBP", "webp", {"lossless": True}),
        ("AVIF", "avif", {"quality": 100, "subsampling": "4:4:4"}),
    ):
        off = 14 if format in ("JPEG", "AVIF") else 2  # an error before the conversion grows with it
        values = look.smooth(rng)
        yield (
            f"adobe.{ending}",
            saved(of(values), format, icc_profile=ADOBE_PROFILE, **options),
            _adobe(values),
            off,
        )
        values = look.smooth(rng)
        yield f"p3.{ending}", saved(of(values), format, icc_profile=P3_PROFILE, **options), _p3(values), off
        values = look.smooth(rng)
        yield f"srgb.{ending}", saved(of(values), format, icc_profile=SRGB_PROFILE, **options), values, off - 2
        for name, broken in BROKEN_PROFILES.items():
            if format != "AVIF":
                values = look.smooth(rng)
                yield f"{name}.{ending}", saved(of(values), format, icc_profile=broken, **options), values, off - 2
    for format, ending in (("PNG", "png"), ("TIFF", "tif"), ("JPEG", "jpg")):
        values, options = look.smooth(rng, 1), {"quality": 95} if format == "JPEG" else {}
        data = saved(of(values[..., 0]), format, icc_profile=GREY_PROFILE, **options)
        yield f"grey-profile.{ending}", data, _dim(values), 10 if options else 2
        values = look.smooth(rng, 1)
        data = saved(of(values[..., 0]), format, icc_profile=SRGB_PROFILE, **options)
        yield f"grey-srgb.{ending}", data, look.grey(values), 8 if options else 0
    values = look.smooth(rng, 4)
    seen = look.on_white(_adobe(values[..., :3]), values[..., 3])
    yield "adobe-alpha.png", saved(of(values), "PNG", icc_profile=ADOBE_PROFILE), seen, 2
    values = look.smooth(rng)
    yield "colours-grey-profile.png", saved(of(values), "PNG", icc_profile=GREY_PROFILE), values, 0


def turned(rng: np.random.Generator) -> Made:
    """All eight orientations in each format that says them."""
    for orientation in range(1, 9):
        exif = write.exif(orientation)
        for format, ending, options, off in (
            ("JPEG", "jpg", {"quality": 95}, LOSSY),
            ("PNG", "png", {}, 0),
            ("WEBP", "webp", {"lossless": True}, 0),
            ("AVIF", "avif", {"quality": 95}, LOSSY),
            ("TIFF", "tif", {}, 0),
            ("TIFF", "lzw.tif", {"compression": "tiff_lzw"}, 0),
        ):
            values = look.smooth(rng)
            data = saved(of(values), format, exif=exif, **options)
            yield f"turned{orientation}.{ending}", data, look.upright(values, orientation), off
    for name, broken in BROKEN_EXIF.items():
        values = look.noise(rng)
        yield f"exif-{name}.png", write.png(values, 8, 2, write.chunk(b"eXIf", broken[6:])), values, 0
        values = look.noise(rng)
        yield f"exif-{name}.webp", saved(of(values), "WEBP", lossless=True, exif=broken), values, 0
    values = look.noise(rng)
    data = write.png(
        values, 8, 2, write.chunk(b"eXIf", write.exif(6)[6:]) + write.chunk(b"tEXt", b"a\0b", checksum=1)
    )
    yield "turned-damaged-text.png", data, look.upright(values, 6), 0


def webps(rng: np.random.Generator) -> Made:
    """WebP with and without loss and alpha, animated."""
    values = look.smooth(rng)
    yield "lossy.webp", saved(of(values), "WEBP", quality=95), values, LOSSY
    values = look.noise(rng)
    yield "lossless.webp", saved(of(values), "WEBP", lossless=True), values, 0
    values = look.noise(rng, 4)
    seen = look.on_white(values[..., :3], values[..., 3])
    yield "alpha.webp", saved(of(values), "WEBP", lossless=True, exact=True), seen, 1
    values = look.smooth(rng, 4)
    seen = look.on_white(values[..., :3], values[..., 3])
    yield "lossy-alpha.webp", saved(of(values), "WEBP", quality=95), seen, LOSSY
    values = look.noise(rng)
    frames = [of(look.noise(rng)) for _ in range(2)]
    yield "animated.webp", saved(of(values), "WEBP", save_all=True, append_images=frames, lossless=True), values, 0
    values = look.noise(rng)
    yield "rubbish-behind.webp", saved(of(values), "WEBP", lossless=True) + bytes(100), values, 0


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


def deep_tiffs(rng: np.random.Generator) -> Made:
    """TIFF of deep greys: integers and floats of each size and order of bytes, black or white for 0."""
    for order, name in (("<", "little"), (">", "big")):
        values = look.noise(rng, 1, 65536)
        yield f"grey16-{name}.tif", write.tiff(values, 1, order), look.grey(values, 65535), 0
        values = rng.integers(-3000, 32768, (look.HEIGHT, look.WIDTH, 1)).astype(np.int16)
        yield f"signed16-{name}.tif", write.tiff(values, 1, order), look.grey(values, 32767), 0
        for top in (255, 65535, 2**31 - 1):
            values = rng.integers(0, top + 1, (look.HEIGHT, look.WIDTH, 1)).astype(np.int32)
            values[0, 0] = top
            yield f"signed32-{top}-{name}.tif", write.tiff(values, 1, order), look.grey(values, top), 0
        for top in (1, 255, 65535, 1e6):
            values = (rng.random((look.HEIGHT, look.WIDTH, 1)) * top).astype(np.float32)
            values[0, 0], values[0, 1], values[0, 2] = top, np.nan, -np.inf
            seen = look.grey(np.nan_to_num(values, nan=0), top)
            yield f"float-{top:g}-{name}.tif", write.tiff(values, 1, order), seen, 0
    values = rng.integers(0, 2**32, (look.HEIGHT, look.WIDTH, 1)).astype(np.uint32)
    yield "unsigned32.tif", write.tiff(values, 1), look.grey(values, 2**32 - 1), 0
    values = look.noise(rng, 1, 65536)
    yield "white-is-zero16.tif", write.tiff(values, 0), 255 - look.grey(values, 65535), 0
    values = look.noise(rng, 1)
    yield "white-is-zero.tif", write.tiff(values, 0), 255 - look.grey(values), 0
    values = look.noise(rng, 1, 4096)
    bits = np.unpackbits(values.reshape(-1, 1).astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 4:]
    shape = (look.WIDTH, look.HEIGHT, 1)
    yield (
        "grey12.tif",
        write.tiff_of_bytes(np.packbits(bits).tobytes(), shape, (12, 1, 1)),
        look.grey(values, 4095),
        0,
    )


def tiffs(rng: np.random.Generator) -> Made:
    """TIFF of each way to hold colours and to compress them; of several pages; with damaged EXIF."""
    for order, name in (("<", "little"), (">", "big")):
        values = look.noise(rng)
        yield f"rgb-{name}.tif", write.tiff(values, 2, order), values, 0
        values = look.noise(rng, 3, 65536)
        yield f"rgb16-{name}.tif", write.tiff(values, 2, order), (values >> 8).astype(np.uint8), 1
        values = look.noise(rng, 4)
        seen = look.on_white(values[..., :3], values[..., 3])
        yield f"rgba-{name}.tif", write.tiff(values, 2, order, t338=("H", (2,))), seen, 1
        values = look.noise(rng, 4)
        yield f"rgbx-{name}.tif", write.tiff(values, 2, order, t338=("H", (0,))), values[..., :3], 0
        values = look.noise(rng, 4)
        values[..., :3] = values[..., :3].astype(int) * values[..., 3:] // 255  # alpha is multiplied in
        seen = (values[..., :3] + (255 - values[..., 3:].astype(int))).astype(np.uint8)
        yield f"premultiplied-{name}.tif", write.tiff(values, 2, order, t338=("H", (1,))), seen, 3
        values = look.smooth(rng)
        values[..., 1:] = (values[..., 1:].astype(int) - 128).astype(np.int8).view(np.uint8) // 4
        yield f"lab-{name}.tif", write.tiff(values, 8, order), look.from_lab(values), 6
        values = look.noise(rng)
        yield f"ycc-{name}.tif", write.tiff(values, 6, order, t530=("H", (1, 1))), look.from_ycc(values), 2
    values = look.noise(rng)
    yield "planar.tif", write.tiff(values, 2, planar=True), values, 0
    values = look.noise(rng, 2)
    seen = look.on_white(look.grey(values[..., 0]), values[..., 1])
    yield "grey-alpha.tif", write.tiff(values, 1, t338=("H", (2,))), seen, 1
    values = look.noise(rng, 2)
    values[..., 0] = values[..., 0].astype(int) * values[..., 1] // 255
    seen = look.grey(values[..., 0].astype(int) + 255 - values[..., 1])
    yield "grey-premultiplied.tif", write.tiff(values, 1, t338=("H", (1,))), seen, 3
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"):
        values = look.noise(rng)
        yield f"{compression}.tif", saved(of(values), "TIFF", compression=compression), values, 0
        values = look.noise(rng, 1, 65536)
        data = saved(Image.fromarray(values[..., 0]), "TIFF", compression=compression)
        yield f"{compression}-16.tif", data, look.grey(values, 65535), 0
    values = look.smooth(rng)
    yield "jpeg.tif", saved(of(values), "TIFF", compression="jpeg", quality=95), values, LOSSY
    values = look.noise(rng, 1, 2)
    data = saved(of(values[..., 0] * 255).convert("1"), "TIFF", compression="group4")
    yield "fax.tif", data, look.grey(values, 1), 0
    values = look.noise(rng)
    pages = [of(look.noise(rng)), of(look.noise(rng))]
    yield "pages.tif", saved(of(values), "TIFF", save_all=True, append_images=pages), values, 0
    for name, place in {"far": 0x7FFFFFFF, "inside": 20}.items():
        values = look.noise(rng)
        yield f"exif-{name}.tif", write.tiff(values, 2, t34665=("I", (place,)), t34853=("I", (place,))), values, 0


def others(rng: np.random.Generator) -> Made:
    """AVIF and JPEG 2000."""
    values = look.smooth(rng)
    yield "lossy.avif", saved(of(values), "AVIF", quality=95), values, LOSSY
    values = look.smooth(rng, 4)
    yield (
        "alpha.avif",
        saved(of(values), "AVIF", quality=95),
        look.on_white(values[..., :3], values[..., 3]),
        LOSSY,
    )
    values = look.smooth(rng, 1)
    yield "grey.avif", saved(of(values[..., 0]), "AVIF", quality=95), look.grey(values), LOSSY
    values = look.smooth(rng)
    frames = [of(look.smooth(rng))]
    yield (
        "animated.avif",
        saved(of(values), "AVIF", quality=95, save_all=True, append_images=frames),
        values,
        LOSSY,
    )
    for ending, options in (("jp2", {}), ("j2k", {"no_jp2": True})):
        values = look.noise(rng)
        yield f"rgb.{ending}", saved(of(values), "JPEG2000", **options), values, 0
        values = look.noise(rng, 1)
        yield f"grey.{ending}", saved(of(values[..., 0]), "JPEG2000", **options), look.grey(values), 0
        values = look.noise(rng, 1, 65536)
        yield (
            f"grey16.{ending}",
            saved(Image.fromarray(values[..., 0]), "JPEG2000", **options),
            look.grey(values, 65535),
            0,
        )
    values = look.noise(rng, 4)
    yield "alpha.jp2", saved(of(values), "JPEG2000"), look.on_white(values[..., :3], values[..., 3]), 1
    values = look.smooth(rng)
    yield (
        "lossy.jp2",
        saved(of(values), "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[3]),
        values,
        LOSSY,
    )


MAKERS = (
    greys, colours, palettes, gifs, jpegs, inks, profiles, turned, webps, bmps, netpbm, deep_tiffs, tiffs, others,
)  # fmt: skip
