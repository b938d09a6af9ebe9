import io
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from corpus import corpus
from corpus.photos import BROKEN_EXIF
from corpus.profiles import ADOBE_PROFILE, SRGB_PROFILE
from corpus.writers import chunk, exif, saved
from PIL import EpsImagePlugin, Image

from alia_ray.decoding import opening
from alia_ray.images import (
    DecodeError,
    decode_rgb,
    encode,
    file_ending,
    fit_square,
    from_array,
    plain_rgb,
    to_array,
)

GOOD = [sample for sample in corpus() if sample.pixels is not None]
BAD = [sample for sample in corpus() if sample.pixels is None]
ONE_LOSS = 12  # levels of 255 that a pixel may lose in a new lossy encoding
quietly = pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata


def each(samples):
    return pytest.mark.parametrize("sample", samples, ids=[sample.name for sample in samples])


def off(picture: Image.Image, pixels: np.ndarray) -> int:
    """How far the worst pixel is off."""
    seen = np.asarray(picture)
    assert (picture.mode, seen.shape) == ("RGB", pixels.shape)
    return int(np.abs(seen.astype(int) - pixels).max())


@each(GOOD)
@quietly
def test_a_picture_is_taken_as_a_viewer_shows_it(sample):
    assert off(decode_rgb(sample.data), sample.pixels) <= sample.tolerance


@each(BAD)
@quietly
def test_what_is_no_picture_is_refused_with_its_reason(sample):
    with pytest.raises(DecodeError, match=r"^cannot be decoded: ") as refused:
        decode_rgb(sample.data)
    assert sample.says in str(refused.value)
    assert "object at 0x" not in str(refused.value)


@each(GOOD)
@quietly
def test_what_is_kept_shows_the_same_to_a_reader_that_knows_no_metadata(sample):
    kept, picture = plain_rgb(sample.data)
    assert off(picture, sample.pixels) <= sample.tolerance
    with Image.open(io.BytesIO(kept)) as seen:
        assert file_ending(kept) == {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}[seen.format]
        is_exact = seen.format == "PNG" or kept == sample.data
        assert off(seen.convert("RGB"), np.asarray(picture)) <= (0 if is_exact else ONE_LOSS)
    assert plain_rgb(sample.data)[0] == kept
    assert plain_rgb(kept)[0] == kept  # and once more, as when an export is read again


def photo(seed: int = 0, size: tuple[int, int] = (480, 320)) -> Image.Image:
    """Soft shapes with a little noise, which take as many bytes as photographs do."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 12, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return Image.fromarray(
        (np.asarray(coarse) + rng.normal(0, 6, (size[1], size[0], 3))).clip(0, 255).astype(np.uint8)
    )


TURNED = exif(6)
KEPT_AS_THEY_ARE = {
    "JPEG": saved(photo(), "JPEG"),
    "progressive JPEG": saved(photo(), "JPEG", progressive=True),
    "grey JPEG": saved(photo().convert("L"), "JPEG"),
    "CMYK JPEG": saved(photo().convert("CMYK"), "JPEG"),
    "JPEG in sRGB": saved(photo(), "JPEG", icc_profile=SRGB_PROFILE),
    "JPEG with a broken profile": saved(photo(), "JPEG", icc_profile=b"no profile"),
    "MPO": saved(photo(), "MPO", save_all=True, append_images=[photo(1)]),
    "PNG": saved(photo(), "PNG"),
    "grey PNG": saved(photo().convert("L"), "PNG"),
    "PNG of bits": saved(photo().convert("1"), "PNG"),
    "palette PNG": saved(photo().quantize(64), "PNG"),
    "opaque RGBA PNG": saved(photo().convert("RGBA"), "PNG"),
    "WebP": saved(photo(), "WEBP"),
}


@pytest.mark.parametrize("kind", KEPT_AS_THEY_ARE)
def test_bytes_that_every_reader_sees_right_are_kept(kind):
    assert plain_rgb(KEPT_AS_THEY_ARE[kind])[0] == KEPT_AS_THEY_ARE[kind]


ENCODED_ANEW = {  # and what it becomes, and how many times the bytes of the source that may take
    "turned JPEG": (saved(photo(), "JPEG", exif=TURNED), "jpg", 1.05),
    "turned coarse JPEG": (saved(photo(), "JPEG", quality=30, exif=TURNED), "jpg", 1.05),
    "turned fine JPEG": (saved(photo(), "JPEG", quality=98, subsampling=0, exif=TURNED), "jpg", 1.05),
    "turned progressive JPEG": (saved(photo(), "JPEG", progressive=True, exif=TURNED), "jpg", 1.05),
    "turned grey JPEG": (saved(photo().convert("L"), "JPEG", exif=TURNED), "jpg", 1.05),
    "turned CMYK JPEG": (saved(photo().convert("CMYK"), "JPEG", exif=TURNED), "jpg", 1.05),
    "JPEG in Adobe RGB": (saved(photo(), "JPEG", icc_profile=ADOBE_PROFILE), "jpg", 1.15),
    "turned WebP": (saved(photo(), "WEBP", exif=TURNED), "webp", 1.05),
    "turned coarse WebP": (saved(photo(), "WEBP", quality=40, exif=TURNED), "webp", 1.05),
    "turned lossless WebP": (saved(photo(), "WEBP", lossless=True, exif=TURNED), "webp", 1.1),
    "AVIF": (saved(photo(), "AVIF", quality=80), "webp", 1.3),
    "JPEG 2000": (saved(photo(), "JPEG2000", irreversible=True, quality_layers=[12]), "webp", 1.3),
    "TIFF of JPEG": (saved(photo(), "TIFF", compression="jpeg", quality=90), "webp", 1.05),
    "grey GIF": (saved(photo().convert("L"), "GIF"), "png", 1.05),
    "palette GIF": (saved(photo().quantize(64), "GIF"), "png", 1.05),
    "TIFF": (saved(photo(), "TIFF", compression="tiff_lzw"), "png", 1.05),
    "fax": (saved(photo().convert("1"), "TIFF", compression="group4"), "png", 1.05),
    "BMP": (saved(photo(), "BMP"), "png", 1.05),
    "PNG of 16 bits": (
        saved(Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257), "PNG"),
        "png",
        1.05,
    ),
    "turned PNG": (saved(photo(), "PNG", exif=TURNED), "png", 1.05),
    "turned palette PNG": (saved(photo().quantize(64), "PNG", exif=TURNED), "png", 1.1),
}


@pytest.mark.parametrize("kind", ENCODED_ANEW)
def test_a_new_encoding_takes_no_more_bytes_than_its_source(kind):
    encoded, ending, times = ENCODED_ANEW[kind]
    kept, picture = plain_rgb(encoded)
    assert kept != encoded
    assert file_ending(kept) == ending
    assert len(kept) <= times * len(encoded)
    error = np.asarray(decode_rgb(kept)).astype(int) - np.asarray(picture)
    assert np.abs(error).mean() <= (0 if ending == "png" or "lossless" in kind else 5)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG2000"])
def test_frames_of_one_camera_stay_comparable(format):
    dark, bright = (Image.fromarray(np.array([[200, top]], np.uint16)) for top in (250, 60_000))
    seen = [np.asarray(decode_rgb(saved(frame, format)))[0, :, 0].tolist() for frame in (dark, bright)]
    assert seen == [[0, 0], [0, 233]]


def test_damaged_exif_is_not_kept_for_others_to_stumble_over():
    encoded = saved(photo(), "JPEG", exif=BROKEN_EXIF["cut"], dpi=(72, 72))
    kept, picture = plain_rgb(encoded)
    with Image.open(io.BytesIO(kept)) as seen:
        assert not seen.getexif()
    assert decode_rgb(kept) == picture


@pytest.mark.parametrize(("mode", "size"), [("L", 0), ("L", 1), ("RGB", 2), ("I;16", 1)])
def test_transparency_of_a_wrong_size_is_ignored(mode, size):
    encoded = saved(Image.new(mode, (8, 8)), "PNG")
    place = encoded.index(b"IDAT") - 4
    assert decode_rgb(encoded[:place] + chunk(b"tRNS", bytes(size)) + encoded[place:]) == decode_rgb(encoded)


def test_an_applied_profile_does_not_stay_with_the_pixels():
    picture = decode_rgb(saved(photo(), "PNG", icc_profile=ADOBE_PROFILE))
    assert decode_rgb(encode(picture)) == picture


def test_no_parser_that_starts_programs_is_tried(monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: started.append("gs"))
    for sample in corpus():
        if sample.name.startswith("bad-eps"):
            with pytest.raises(DecodeError, match="it is none of"):
                decode_rgb(sample.data)
    assert not started


def test_heic_is_taken_where_its_package_is_and_names_it_where_it_is_not(monkeypatch):
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DecodeError, match="pillow-heif"):
        decode_rgb(heic)
    opened = (lambda _file, _name: Image.open(io.BytesIO(saved(photo(), "BMP"))), lambda _start: True)
    package = SimpleNamespace(register_heif_opener=lambda: monkeypatch.setitem(Image.OPEN, "HEIF", opened))
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    assert decode_rgb(heic) == photo()


def test_what_stops_the_program_is_not_taken_for_a_bad_file(monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Image, "open", stop)
    with pytest.raises(KeyboardInterrupt):
        decode_rgb(KEPT_AS_THEY_ARE["JPEG"])


@quietly
def test_more_pixels_than_pillow_would_warn_of_are_refused(monkeypatch):
    monkeypatch.setattr(opening, "MOST_PIXELS", 100_000)  # of 153,600, at which Pillow only warns
    with pytest.raises(DecodeError, match="153600 pixels are more than 100000"):
        decode_rgb(KEPT_AS_THEY_ARE["PNG"])


@pytest.mark.parametrize("kind", ["floats", "clear colours"])
def test_a_picture_takes_little_more_memory_than_its_pixels(kind):
    shape, buffer = (4000, 4000), io.BytesIO()
    if kind == "floats":
        Image.fromarray(np.zeros(shape, np.float32)).save(buffer, "TIFF", compression="tiff_adobe_deflate")
    else:
        picture = Image.new("P", shape)
        picture.putpalette([0, 0, 0, 255, 0, 0])
        picture.save(buffer, "PNG", transparency=1)
    tracemalloc.start()
    plain_rgb(buffer.getvalue())
    _, most = tracemalloc.get_traced_memory()  # of NumPy and Python; Pillow itself has three or four bytes a pixel
    tracemalloc.stop()
    assert most < 14 * shape[0] * shape[1]


def test_arrays_and_pictures_round_trip():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    picture = Image.fromarray(pixels)
    assert np.array_equal(np.asarray(from_array(to_array(picture))), pixels)
    assert np.array_equal(np.asarray(decode_rgb(encode(picture))), pixels)


def test_fit_square_crops_the_middle_and_leaves_a_square_alone():
    picture = Image.new("RGB", (20, 10), "blue")
    assert fit_square(picture, 10).size == (10, 10)
    square = Image.new("RGB", (10, 10))
    assert fit_square(square, 10) is square
