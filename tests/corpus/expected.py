"""What pictures look like, by formulas of NumPy on the numbers that they were made of: uint8 (H, W, 3)."""

import io

import numpy as np
from PIL import Image, ImageCms

from corpus import profiles, writers

HEIGHT, WIDTH = 16, 24


def noise(rng: np.random.Generator, bands: int = 3, levels: int = 256) -> np.ndarray:
    """Numbers from 0 to `levels` - 1, shape (H, W, bands), for files that lose nothing."""
    kind = np.uint8 if levels <= 256 else np.uint16
    return rng.integers(0, levels, (HEIGHT, WIDTH, bands)).astype(kind)


def smooth(rng: np.random.Generator, bands: int = 3) -> np.ndarray:
    """Colours that change slowly, uint8 (H, W, bands), which lossy encoders keep to within a few levels."""
    corners = rng.integers(60, 196, bands) + rng.integers(-25, 26, (2, 2, bands))
    down, along = np.linspace(0, 1, HEIGHT)[:, None, None], np.linspace(0, 1, WIDTH)[None, :, None]
    left, right = (corners[0, side] * (1 - down) + corners[1, side] * down for side in (0, 1))
    return (left * (1 - along) + right * along).round().astype(np.uint8)


def grey(values: np.ndarray, white: float = 255) -> np.ndarray:
    """Numbers (H, W) or (H, W, 1) of which `white` is white."""
    levels = (values.reshape(values.shape[:2]).astype(np.float64) * 255 / white).clip(0, 255).astype(np.uint8)
    return np.stack([levels] * 3, -1)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) on white paper; alpha (H, W) from 0 to 255."""
    part = alpha[..., None] / 255
    return (colours * part + 255 * (1 - part)).round().astype(np.uint8)


def printed(inks: np.ndarray) -> np.ndarray:
    """Cyan, magenta, yellow and black (H, W, 4), 255 for all that the paper takes, without a profile."""
    paper = 255 - inks.astype(np.float64)
    return (paper[..., :3] * paper[..., 3:] / 255).round().astype(np.uint8)


def from_ycc(values: np.ndarray) -> np.ndarray:
    """Y, Cb, Cr (H, W, 3) of JFIF."""
    luma, blue, red = (values[..., band].astype(np.float64) for band in range(3))
    colours = [luma + 1.402 * (red - 128), luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128)]
    return np.stack([*colours, luma + 1.772 * (blue - 128)], -1).round().clip(0, 255).astype(np.uint8)


def from_lab(values: np.ndarray) -> np.ndarray:
    """CIELAB (H, W, 3) as TIFF holds it: L from 0 to 255 for 100, a and b as int8."""
    lightness = values[..., 0] / 255 * 100
    green_red, blue_yellow = (values[..., band].view(np.int8).astype(np.float64) for band in (1, 2))
    middle = (lightness + 16) / 116
    parts = np.stack([middle + green_red / 500, middle, middle - blue_yellow / 200], -1)
    light = np.where(parts > 6 / 29, parts**3, 3 * (6 / 29) ** 2 * (parts - 4 / 29)) * np.array(profiles.D50)
    return profiles.srgb_levels(light @ np.linalg.inv(profiles.SRGB).T)


def from_primaries(values: np.ndarray, primaries: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Levels (H, W, 3) of other primaries whose light is given, clipped to what sRGB can show."""
    return profiles.srgb_levels(light @ primaries.T @ np.linalg.inv(profiles.SRGB).T)


def from_profile(inks: np.ndarray, profile: bytes) -> np.ndarray:
    """CMYK (H, W, 4) by its profile, as LittleCMS has it."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "CMYK", "RGB")
    return np.asarray(ImageCms.applyTransform(writers.of(inks, "CMYK"), transform))


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels as they are seen, by the table of the EXIF standard."""
    seen = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[:, ::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[::-1],
    }
    return seen[orientation](pixels)


def resized(pixels: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A picture of another size (width, height), by its nearest pixels."""
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
