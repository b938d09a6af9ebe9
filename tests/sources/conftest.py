"""What tests of sources share: tiny pictures that can be told apart after they have been read back."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from alia_ray.config.source import Source
from alia_ray.images import decode_rgb, encode
from alia_ray.sources import read_images


@pytest.fixture
def picture() -> Callable[[int], bytes]:
    """Makes the encoded picture of a number from 0 to 255."""
    return lambda value: encode(Image.new("RGB", (4, 4), (value, 0, 0)))


@pytest.fixture
def numbers_read() -> Callable[[Source, pa.Table], list[int | None]]:
    """Reads rows of a listing and gives the number of each picture, None for what cannot be read."""

    def read(source: Source, rows: pa.Table) -> list[int | None]:
        contents = read_images(source, rows)
        return [None if isinstance(c, OSError) else int(np.asarray(decode_rgb(c))[0, 0, 0]) for c in contents]

    return read
