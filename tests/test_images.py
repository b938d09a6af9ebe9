import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from alia_ray.images import DecodeError, decode_rgb, encode, fit_square, from_array, plain_rgb, to_array


def stored(picture: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_any_png_mode_becomes_rgb(mode):
    picture = Image.new("RGB", (6, 4), (200, 100, 50)).convert(mode.replace("I;16", "I"))
    picture = picture if mode != "I;16" else Image.fromarray(np.full((4, 6), 30000, np.uint16))
    decoded = decode_rgb(stored(picture))
    assert (decoded.mode, decoded.size) == ("RGB", (6, 4))


def test_cmyk_jpeg_becomes_rgb_of_the_same_colour():
    decoded = decode_rgb(stored(Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK"), "JPEG"))
    assert np.abs(np.asarray(decoded)[8, 8].astype(int) - (200, 30, 30)).max() < 12


def test_sixteen_bit_grey_is_scaled_not_clipped():
    decoded = decode_rgb(stored(Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))))
    assert np.asarray(decoded)[0, :, 0].tolist() == [0, 127, 255]


def test_transparency_is_laid_on_white():
    picture = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (255, 0, 0, 0))
    assert np.asarray(decode_rgb(stored(picture))).tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was turned: width and height change places
    encoded = stored(Image.new("RGB", (8, 4)), "JPEG", exif=exif)
    assert decode_rgb(encoded).size == (4, 8)
    kept, picture = plain_rgb(encoded)
    assert kept != encoded
    assert Image.open(io.BytesIO(kept)).size == picture.size == (4, 8)


def test_plain_rgb_files_keep_their_bytes():
    encoded = stored(Image.new("RGB", (8, 4), "red"), "JPEG")
    assert plain_rgb(encoded)[0] == encoded


@pytest.mark.parametrize("damage", [b"", b"not a picture", b"truncated"])
def test_garbage_is_a_decode_error(damage):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    content = stored(noise)[:500] if damage == b"truncated" else damage
    with pytest.raises(DecodeError):
        decode_rgb(content)


def test_a_decompression_bomb_is_a_decode_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DecodeError):
        decode_rgb(stored(Image.new("RGB", (64, 64))))


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
