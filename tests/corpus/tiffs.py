"""TIFF, which holds nearly every kind of pixel in nearly every way."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from corpus import expected as look
from corpus import writers as write
from corpus.writers import of, saved

Made = Iterator[tuple[str, bytes, np.ndarray, int]]
"""Names, bytes, how they look, and how far a pixel may be off, in levels of 255."""
LOSSY = 10


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


MAKERS = (deep_tiffs, tiffs)
