"""Zero-shot scores of images against texts by CLIP (paper, section 3.3), through open_clip."""

from collections.abc import Sequence
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from huggingface_hub import snapshot_download
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from alia_ray import config
from alia_ray.models.batches import as_batch, middle
from alia_ray.models.loading import pick_device, pick_dtype, seeded_by_name
from alia_ray.models.naming import CLIP_WEIGHTS, architecture_of, is_random, resolve

LOGIT_SCALE = 100.0  # CLIP's own, at which its temperature was clipped
_PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


class ClipJudge:
    """Scores images against positive and negative texts; the texts are encoded once.

    Names: `hf-hub:ORG/REPO` with safetensors, a local folder that open_clip wrote, `miniature:clip`, or
    `random:ARCHITECTURE` with a name of open_clip's own ("ViT-L-14"). Raises ValueError for other names.
    """

    def __init__(
        self, model: config.Model, positives: list[str], negatives: list[str], device: torch.device | None = None
    ) -> None:
        self.device = device or pick_device()
        self.dtype = pick_dtype(model.dtype, self.device)
        self.texts = [*positives, *negatives]
        self.model, tokenizer = load_clip(model, self.dtype)
        self.model.to(self.device).eval()
        self.preprocessing = self.model.visual.preprocess_cfg
        with torch.inference_mode():
            encoded = self.model.encode_text(tokenizer(self.texts).to(self.device))
            self.text_features = F.normalize(encoded.float(), dim=1)

    @torch.inference_mode()
    def score(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Probabilities of the texts: float32 (N, texts), positives first, rows that sum to 1.

        images: float (N, 3, H, W) in [0, 1], or N of (3, H, W), of any sizes, on the judge's device.
        """
        features = self.model.encode_image(as_batch(images, self._preprocess).to(self.dtype))
        logits = LOGIT_SCALE * F.normalize(features.float(), dim=1) @ self.text_features.T
        return logits.softmax(dim=1)

    def _preprocess(self, images: torch.Tensor) -> torch.Tensor:
        """What the model's own transform does to a PIL image, on the device: resize, crop, normalise."""
        size, mode = self.preprocessing["size"], InterpolationMode(self.preprocessing["interpolation"])
        if self.preprocessing["resize_mode"] == "squash":
            images = functional.resize(images, list(size), mode, antialias=True)
        else:  # "shortest": the shorter side, then the middle
            images = middle(images, tuple(size), mode)
        images = images.clamp(0, 1)
        mean, std = (
            torch.tensor(self.preprocessing[name], device=images.device).view(1, 3, 1, 1)
            for name in ("mean", "std")
        )
        return (images - mean) / std


def load_clip(
    model: config.Model, dtype: torch.dtype
) -> tuple[torch.nn.Module, open_clip.tokenizer.HFTokenizer | open_clip.tokenizer.SimpleTokenizer]:
    """The open_clip model, on the CPU in `dtype`, and its tokenizer."""
    precision = _PRECISIONS[dtype]
    if is_random(model.name):
        name = architecture_of(model.name)
        with seeded_by_name(name):
            built = open_clip.create_model(name, pretrained=None, precision=precision)
        return built, open_clip.get_tokenizer(name)
    name = f"local-dir:{_folder(model)}"
    loaded = open_clip.create_model_from_pretrained(name, precision=precision, return_transform=False)
    return loaded, open_clip.get_tokenizer(name)


def _folder(model: config.Model) -> Path:
    """The model's folder; of a hub id only configuration, tokenizer and safetensors are fetched.

    open_clip would fall back to pickled weights where a repository has no safetensors: that is refused here.
    """
    if model.name.startswith("hf-hub:"):
        wanted = ["*.json", "*.txt", CLIP_WEIGHTS]
        repository = model.name.removeprefix("hf-hub:")
        folder = Path(snapshot_download(repository, revision=model.revision, allow_patterns=wanted))
    else:
        folder = Path(resolve(model.name)).expanduser()
    if not (folder / CLIP_WEIGHTS).is_file():
        raise ValueError(
            f"judge.model.name: {model.name!r} has no {CLIP_WEIGHTS}; give hf-hub:ORG/REPO or a folder"
        )
    return folder
