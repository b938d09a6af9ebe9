"""Makes docs/edits.png: birds of the miniature, edited under a prompt for each background.

python docs/edits_picture.py docs/edits_controlnet.png --method controlnet
"""

import argparse

import numpy as np
import torch
from PIL import Image

from alia_ray.config import load_config
from alia_ray.images import from_array, to_array
from alia_ray.miniature import dataset, world
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.miniature.shapes import SIZE
from alia_ray.models.editor import Editor

SEED, ENLARGED = 77, 96


def main() -> None:
    """Edit one bird of each class on each training background under all eight prompts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--method", default="instruct_pix2pix", choices=list(EDITING))
    options = parser.parse_args()
    editor = Editor(load_config(DEMO, EDITING[options.method]).edit)
    rows = []
    for label, places in dataset.HOME.items():
        for place in places:
            source = Image.fromarray(dataset.paint(f"picture/{place}", label, place, SEED))
            prompts = [f"a photo of a {label} bird {phrase}" for phrase in world.BACKGROUNDS.values()]
            sources = torch.from_numpy(np.stack([to_array(source)] * len(prompts)))
            edits = editor.edit(editor.encode(sources), prompts, list(range(SEED, SEED + len(prompts))))
            rows.append(np.concatenate([to_array(source), *edits.numpy()], axis=2))
    grid = from_array(np.concatenate(rows, axis=1))
    size = (grid.width * ENLARGED // SIZE, grid.height * ENLARGED // SIZE)
    grid.resize(size, Image.Resampling.NEAREST).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
