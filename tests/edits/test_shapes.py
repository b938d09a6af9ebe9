import math

import pytest

from alia_ray.edits.shapes import MULTIPLE, bucket_of, buckets, frame_of

PICTURES = [(500, 375), (375, 500), (2048, 1536), (500, 333), (1920, 1080), (1179, 2556), (640, 427), (501, 380)]
PICTURES += [(4000, 1000), (300, 1000), (48, 36), (7, 5), (3000, 2999), (224, 224)]


def aspect(shape: tuple[int, int]) -> float:
    return shape[0] / shape[1]


@pytest.mark.parametrize("size", [48, 64, 256, 512, 768, 1024])
def test_pictures_are_edited_at_few_shapes_of_about_as_many_pixels(size):
    shapes = buckets(size)
    assert shapes[0] == (size, size)
    assert len(set(shapes)) == len(shapes) <= 13
    assert {(height, width) for width, height in shapes} == set(shapes)
    for width, height in shapes:
        assert width % MULTIPLE == height % MULTIPLE == 0
        assert 0.8 < width * height / size**2 < 1.25


def test_the_photographs_of_cameras_have_buckets_of_their_own_aspect():
    of_512 = {bucket_of(shape, 512) for shape in [(4000, 3000), (6000, 4000), (1280, 1024), (3000, 4000)]}
    assert of_512 == {(576, 432), (624, 416), (560, 448), (432, 576)}


@pytest.mark.parametrize("size", [48, 512, 1024])
@pytest.mark.parametrize("picture", PICTURES)
def test_an_edit_has_its_source_s_aspect_and_about_as_many_pixels_as_a_square(picture, size):
    frame = frame_of(picture, size)
    assert aspect(frame) == pytest.approx(aspect(picture), rel=0.005)
    assert 0.75 < math.prod(frame) / size**2 < 1.15
    assert frame_of(picture[::-1], size) == frame[::-1]


def test_a_square_stays_one_and_a_bucket_of_the_same_aspect_is_not_stretched():
    assert frame_of((2048, 2048), 512) == bucket_of((2048, 2048), 512) == (512, 512)
    assert frame_of((4000, 3000), 512) == bucket_of((4000, 3000), 512)


@pytest.mark.parametrize("picture", [(65000, 1), (1, 65000), (10000, 10)])
def test_a_sliver_has_a_frame_that_any_format_can_hold(picture):
    width, height = frame_of(picture, 1024)
    assert 1 <= width <= 16383
    assert 1 <= height <= 16383
    assert bucket_of(picture, 1024) in buckets(1024)
