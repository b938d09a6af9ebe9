"""Pictures as cameras and the web have them: JPEG, WebP, AVIF and JPEG 2000, with metadata sound and damaged."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from corpus import expected as look
from corpus import profiles
from corpus import writers as write
from corpus.profiles import ADOBE_PROFILE, BROKEN_PROFILES, GREY_PROFILE, P3_PROFILE, SRGB_PROFILE
from corpus.writers import of, saved

Made = Iterator[tuple[str, bytes, np.ndarray, int]]
"""Names, bytes, how they look, and how far a pixel may be off, in levels of 255."""
LOSSY = 10
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
BROKEN_EXIF = {
    "cut": b"Exif\0\0II*\0",
    "rubbish": b"Exif\0\0 this is no EXIF at all",
    "far": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "count": b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\xff\xff\xff\xff\6\0\0\0",
    "type": b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\x02\0\0\0\1\6\0\0\0\0\0\0\0",
}


def _adobe(values: np.ndarray) -> np.ndarray:
    return look.from_primaries(values, profiles.ADOBE, (values / 255) ** (563 / 256))


def _p3(values: np.ndarray) -> np.ndarray:
    return look.from_primaries(values, profiles.P3, profiles.srgb_light(values / 255))


def _dim(values: np.ndarray) -> np.ndarray:
    """Greys whose light is their level to the power of 1.8."""
    return look.grey(profiles.srgb_levels((values / 255) ** 1.8))


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
    values, press = look.smooth(rng, 4), profiles.cmyk_profile()
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


def coloured(rng: np.random.Generator) -> Made:
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
        values, sound = look.smooth(rng), Image.Exif()
        sound[0x010E] = "a description, in the place of which comes what is broken"
        data = saved(of(values), "AVIF", quality=95, exif=sound.tobytes())
        place = data.index(sound.tobytes()[6:])
        data = data[:place] + broken[6:] + data[place + len(broken) - 6 :]
        yield f"exif-{name}.avif", data, values, LOSSY
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


MAKERS = (jpegs, inks, coloured, turned, webps, others)
