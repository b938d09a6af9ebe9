import pytest
from PIL import Image

from alia_ray.report.pictures import picture_grid


def test_a_grid_holds_every_picture_and_grows_with_its_captions():
    red, blue = Image.new("RGB", (48, 48), "red"), Image.new("RGB", (400, 200), "blue")
    short = picture_grid([[(red, "a"), (blue, "b")], [(red, "c")]], cell=100)
    long = picture_grid(
        [[(red, "a caption that must be wrapped into lines"), (blue, "b")], [(red, "c")]], cell=100
    )
    assert short.width == long.width == 8 + 2 * 108
    assert long.height > short.height
    assert short.getpixel((58, 58)) == (255, 0, 0)
    assert short.getpixel((166, 58)) == (0, 0, 255)
    with pytest.raises(ValueError, match="at least one picture"):
        picture_grid([[]])
