"""Zero-shot scores of images against texts by CLIP (paper, section 3.3), through open_clip."""

from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F

from alia_ray import config
from alia_ray.models.loading import (
    architecture_of,
    is_random,
    pick_device,
    pick_dtype,
    resolve,
    seeded_by_name,
)

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
    def score(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities of the texts: float32 (N, texts), positives first, rows that sum to 1.

        images: float (N, 3, H, W) in [0, 1], of any size, on the judge's device.
        """
        features = self.model.encode_image(self._preprocess(images).to(self.dtype))
        logits = LOGIT_SCALE * F.normalize(features.float(), dim=1) @ self.text_features.T
        return logits.softmax(dim=1)

    def _preprocess(self, images: torch.Tensor) -> torch.Tensor:
        """What the model's own transform does to a PIL image, on the device: resize, crop, normalise."""
        size = self.preprocessing["size"]
        height, width = (size, size) if isinstance(size, int) else size
        if self.preprocessing["resize_mode"] == "shortest":
            scale = max(height / images.shape[2], width / images.shape[3])
            resized = (round(images.shape[2] * scale), round(images.shape[3] * scale))
        else:
            resized = (height, width)
        if images.shape[2:] != resized:
            mode = self.preprocessing["interpolation"]
            images = F.interpolate(images, resized, mode=mode, antialias=True, align_corners=False)
        top, left = (resized[0] - height) // 2, (resized[1] - width) // 2
        images = images[:, :, top : top + height, left : left + width].clamp(0, 1)
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
            return open_clip.create_model(name, pretrained=None, precision=precision), open_clip.get_tokenizer(
                name
            )
    name = _open_clip_name(model)
    loaded = open_clip.create_model_from_pretrained(name, precision=precision, return_transform=False)
    return loaded, open_clip.get_tokenizer(name)


def _open_clip_name(model: config.Model) -> str:
    if model.name.startswith("hf-hub:"):
        return model.name + (f"@{model.revision}" if model.revision else "")
    path = Path(resolve(model.name)).expanduser()
    if not path.is_dir():
        raise ValueError(f"judge.model.name: {model.name!r} is neither hf-hub:ORG/REPO nor a folder")
    return f"local-dir:{path}"
