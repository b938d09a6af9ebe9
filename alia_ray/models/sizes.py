"""How many parameters a model has, from its checkpoint's headers: nothing is loaded, and torch is not imported."""

import re
from collections.abc import Iterator
from pathlib import Path

from alia_ray.config import Model
from alia_ray.models.naming import MAIN_FILES, folder_on_disk, is_random, is_simulated

_RANDOM = {
    "random:sd15": 1_066_235_307,  # UNet, VAE and text encoder
    "random:blip-large": 446_290_492,
    "random:ViT-L-14": 427_616_513,
    "random:ViT-B-32": 151_277_313,
}
"""Of the architectures that `random:` is used with; of another one nothing is known."""
_PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
"""The folders of a diffusers checkpoint whose weights the editor loads; its safety checker is left out."""
_FILE = re.compile(r"(open_clip_model|diffusion_pytorch_model|model)(\.\w+)?(-\d+-of-\d+)?\.safetensors")
CONTROLNET_SD15 = 361_279_120
"""Of lllyasviel/sd-controlnet-canny, which `random:sd15` brings along."""
CLASSIFIERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "shufflenet_v2_x0_5": 1_366_792,
    "shufflenet_v2_x1_0": 2_278_604,
}
"""torchvision's own counts; ask with `.get(name, LARGE_CLASSIFIER)`."""
LARGE_CLASSIFIER = 100_000_000


def parameters(model: Model) -> int | None:
    """The number of weights that are loaded for a model; None where its checkpoint is not on this machine."""
    if is_simulated(model.name):
        return 0
    if is_random(model.name):
        return _RANDOM.get(model.name)
    folder = next(filter(None, (folder_on_disk(model, file) for file in MAIN_FILES)), None)
    if folder is None:
        return None
    parts = [folder / part for part in _PARTS] if (folder / "model_index.json").is_file() else [folder]
    return sum(_count(file) for part in parts for file in _loaded_files(part)) or None


def _loaded_files(folder: Path) -> Iterator[Path]:
    """Of the variants of one network's weights that lie in a folder, the files of the one that is loaded."""
    sets: dict[tuple[str, str], list[Path]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        if match := _FILE.fullmatch(file.name):
            sets.setdefault((match[1], match[2] or ""), []).append(file)
    # open_clip's file before transformers', and full precision ("") before a variant such as ".fp16"
    chosen = min(sets, key=lambda names: (names[0] != "open_clip_model", names[1]), default=None)
    return iter(sets[chosen] if chosen else [])


def _count(file: Path) -> int:
    """The numbers in one safetensors file. Raises ValueError where it is none."""
    from huggingface_hub import parse_local_safetensors_file_metadata

    return sum(parse_local_safetensors_file_metadata(file).parameter_count.values())
