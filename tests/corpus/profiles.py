"""Colour profiles that are made by formulas, and the light that levels stand for."""

import struct

import numpy as np

# Columns are red, green and blue in XYZ, seen under D50, the light of all profiles (Bruce Lindbloom's tables).
SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
ADOBE = np.array(
    [[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197], [0.0194811, 0.0608902, 0.7448387]]
)
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
D50 = (0.9642, 1.0, 0.8249)


def srgb_light(values: np.ndarray) -> np.ndarray:
    """sRGB from 0 to 1 as amounts of light."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_levels(light: np.ndarray) -> np.ndarray:
    """Amounts of light as sRGB, uint8."""
    light = light.clip(0, 1)
    return (
        (255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))
        .round()
        .astype(np.uint8)
    )


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _curve(light: np.ndarray) -> bytes:
    values = (light * 65535).round().astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + values.tobytes()


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", device: bytes = b"mntr") -> bytes:
    """An ICC profile of version 2 with these tags and a white point."""
    text = b"made for a test"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * 80
    tags = {b"desc": description, b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50), **tags}
    table, content, start = b"", b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", start + len(content), len(value))
        content += value
    head = struct.pack(">I4sI4s4s4s", start + len(content), b"test", 0x02200000, device, space, connection)
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + _fixed(*D50) + b"\0" * 48
    return head + struct.pack(">I", len(tags)) + table + content


def rgb_profile(primaries: np.ndarray, light: np.ndarray) -> bytes:
    """A profile of red, green and blue (columns of XYZ); `light`: what equally spaced levels give, from 0 to 1."""
    columns = {
        name: b"XYZ \0\0\0\0" + _fixed(*primaries[:, band])
        for band, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    return profile(b"RGB ", {**columns, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(light))})


def grey_profile(light: np.ndarray) -> bytes:
    """A profile of greys; `light` as for `rgb_profile`."""
    return profile(b"GRAY", {b"kTRC": _curve(light)})


def cmyk_profile() -> bytes:
    """A profile of a printer whose inks are rather dull: its 16 full mixtures as Lab, and what lies between."""
    ramp = bytes(range(256))
    mixtures = b""
    for number in range(16):
        cyan, magenta, yellow, black = ((number >> shift) & 1 for shift in (3, 2, 1, 0))
        lightness = 240 * (1 - 0.3 * cyan) * (1 - 0.35 * magenta) * (1 - 0.08 * yellow) * (1 - 0.85 * black)
        spread = 1 - 0.9 * black
        green_red = 128 + spread * (-35 * cyan + 65 * magenta - 5 * yellow)
        blue_yellow = 128 + spread * (-45 * cyan - 5 * magenta + 80 * yellow)
        mixtures += bytes((round(lightness), round(green_red), round(blue_yellow)))
    table = b"mft1\0\0\0\0\4\3\2\0" + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + mixtures + ramp * 3
    return profile(b"CMYK", {b"A2B0": table}, connection=b"Lab ", device=b"prtr")


RAMP = np.linspace(0, 1, 1024)
ADOBE_PROFILE = rgb_profile(ADOBE, RAMP ** (563 / 256))
P3_PROFILE = rgb_profile(P3, srgb_light(RAMP))
SRGB_PROFILE = rgb_profile(SRGB, srgb_light(RAMP))
GREY_PROFILE = grey_profile(RAMP**1.8)
BROKEN_PROFILES = {
    "short": SRGB_PROFILE[:90],
    "rubbish": b"not a profile" * 20,
    "holes": SRGB_PROFILE[:300] + bytes(3000),
}
