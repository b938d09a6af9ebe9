"""How models are loaded, and which device and dtype they get."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from alia_ray.models.naming import VARIANTS

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def quiet_libraries() -> None:
    """Silence the loading bars and notes of diffusers and transformers: a pool of workers repeats each of them."""
    import diffusers  # not above: a classifier needs neither, and both take their time
    import transformers

    for library in (diffusers.logging, transformers.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


T = TypeVar("T")


def load_safetensors(load: Callable[..., T], path: str, **options: Any) -> T:
    """What `load`, a `from_pretrained` of diffusers or transformers, makes of a model's safetensors.

    Where a model has no weights but those of a variant, they are taken; `dtype` says what becomes of them.
    Raises OSError when there are none.
    """
    try:
        return load(path, use_safetensors=True, **options)
    except OSError as missing:
        for variant in VARIANTS:
            try:
                return load(path, use_safetensors=True, variant=variant, **options)
            except (OSError, ValueError):  # the libraries' words for a variant that is not there
                continue
        raise missing


def pick_device() -> torch.device:
    """CUDA where there is one. A logical GPU of Ray on a machine without one is no CUDA device."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The torch dtype of a configured one; "auto" is float16 on a GPU and float32 on a CPU."""
    if dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return _DTYPES[dtype]


@contextmanager
def seeded_by_name(name: str) -> Iterator[None]:
    """Random weights made inside depend on `name` alone; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little"))
        yield
