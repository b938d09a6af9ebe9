"""A folder of painted birds, photos/SPLIT/CLASS/NUMBER.png, for trying a run on "one's own" images.

    python docs/photos.py photos

Each class stands on two places of its own in train and val, and on all four in test (docs/miniature.md).
"""

import sys
from pathlib import Path

from PIL import Image

from alia_ray.miniature.dataset import layout, paint

SPLITS = {"train": 72, "val": 16, "test": 32}


def main(folder: Path) -> None:
    """Write the pictures below `folder`."""
    for split, count in SPLITS.items():
        for bird in layout(split, count, bias=1.0):
            path = folder / split / bird.label / f"{Path(bird.origin).name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(paint(bird.origin, bird.label, bird.background, seed=0)).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
