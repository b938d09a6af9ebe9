"""What a model's name stands for, and where the model lies; apart from loading it, so that checks need no torch.

A name is a hub id, a local folder, `miniature:NAME` (small weights that ship with the package),
`random:ARCHITECTURE` (the real architecture and size with seeded random weights), or `simulated` (no model).
"""

from pathlib import Path

from alia_ray.config import Model
from alia_ray.config.places import Place

WEIGHTS = Path(__file__).parent.parent / "miniature" / "weights"
CLIP_WEIGHTS = "open_clip_model.safetensors"
VARIANTS = ("fp16", "bf16")
"""What may stand in the names of a checkpoint's weights, `model.fp16.safetensors`, if it has no others."""

MAIN_FILES = ("model_index.json", "open_clip_config.json", "config.json")
"""Of a model that is on this machine one of these is there: of diffusers, open_clip or transformers."""


def is_random(name: str) -> bool:
    """Whether a name asks for random weights."""
    return name.startswith("random:")


def is_simulated(name: str) -> bool:
    """Whether a name asks for a model that does no work."""
    return name.partition(":")[0] == "simulated"


def is_made_up(name: str) -> bool:
    """Whether a name stands for no checkpoint: of random weights, or of no model at all."""
    return is_random(name) or is_simulated(name)


def architecture_of(name: str) -> str:
    """The architecture of a `random:` name."""
    return name.removeprefix("random:")


def place_of(name: str) -> str:
    """The folder or hub id that a name stands for; whether it is there is not looked at."""
    if name.startswith("miniature:"):
        return str(WEIGHTS / name.removeprefix("miniature:"))
    return name.removeprefix("hf-hub:")


def is_on_hub(name: str) -> bool:
    """Whether a name is a hub id."""
    return not (isinstance(name, Place) or is_made_up(name) or name.startswith("miniature:"))


def miniatures() -> list[str]:
    """What NAME may be in `miniature:NAME`."""
    return sorted(folder.name for folder in WEIGHTS.iterdir() if folder.is_dir())


def resolve(name: str) -> str:
    """A path for `miniature:NAME`, the name itself otherwise. Raises ValueError for an unknown NAME."""
    if not name.startswith("miniature:"):
        return name
    if name.removeprefix("miniature:") not in miniatures():
        raise ValueError(f"there is no {name!r}; the miniature models are {', '.join(miniatures())}")
    return place_of(name)


def folder_on_disk(model: Model, file: str) -> Path | None:
    """The folder on this machine, or in the hub's cache, that holds a model's `file`; nothing is fetched."""
    place = place_of(model.name)
    local = Path(place).expanduser()
    if local.is_dir() and not model.name.startswith("hf-hub:"):
        return (local / file).parent if (local / file).is_file() else None
    from huggingface_hub import try_to_load_from_cache  # not above: half a second

    try:
        cached = try_to_load_from_cache(place, file, revision=model.revision)
    except ValueError:  # no name of the hub; the check of models says so
        return None
    return Path(cached).parent if isinstance(cached, str) else None
