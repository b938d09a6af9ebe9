"""What everything in the painted world is drawn with: a pixel grid, signed distances, and ink."""

import numpy as np

SIZE = 48

ROWS, COLS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
Y, X = (ROWS + 0.5) / SIZE, (COLS + 0.5) / SIZE  # pixel centres in [0, 1], y downwards


def ellipse(u: np.ndarray, v: np.ndarray, cu: float, cv: float, ru: float, rv: float) -> np.ndarray:
    """An ellipse around (cu, cv): negative inside."""
    return (np.sqrt(((u - cu) / ru) ** 2 + ((v - cv) / rv) ** 2) - 1) * min(ru, rv)


def segment(
    u: np.ndarray, v: np.ndarray, a: tuple[float, float], b: tuple[float, float], ra: float, rb: float
) -> np.ndarray:
    """A capsule from a to b whose radius goes from ra to rb."""
    du, dv = b[0] - a[0], b[1] - a[1]
    t = np.clip(((u - a[0]) * du + (v - a[1]) * dv) / (du * du + dv * dv), 0, 1)
    return np.hypot(u - a[0] - t * du, v - a[1] - t * dv) - (ra + t * (rb - ra))


def ink(canvas: np.ndarray, distance: np.ndarray, scale: float, colour: np.ndarray) -> None:
    """Lay `colour` where `distance` (in units of `scale` picture widths) is negative, with soft edges."""
    cover = np.clip(0.5 - distance * scale * SIZE, 0, 1)[..., None]
    canvas += cover * (colour - canvas)
