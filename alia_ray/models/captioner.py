"""BLIP captions of pictures, in batches (paper, section 3.1), through transformers."""

import string
from collections.abc import Iterable

import torch
from PIL import Image
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    BlipTextConfig,
)

from alia_ray import config
from alia_ray.models.loading import load_safetensors, pick_device, pick_dtype, quiet_libraries, seeded_by_name
from alia_ray.models.naming import architecture_of, is_random, resolve

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BLIP_LARGE = {
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 16,
    },
    "text_config": {"hidden_size": 768, "encoder_hidden_size": 1024, "num_attention_heads": 12},
}
"""The architecture of Salesforce/blip-image-captioning-large, beside transformers' defaults."""


class Captioner:
    """Captions batches of RGB pictures, greedily.

    `prefix` is a text that every caption goes on from; without it captions are unconditional.
    Raises OSError when the model cannot be found, ValueError for an unknown random architecture.
    """

    def __init__(
        self,
        model: config.Model,
        device: torch.device | None = None,
        prefix: str | None = None,
        max_new_tokens: int = 20,
    ) -> None:
        self.device = device or pick_device()
        self.dtype = pick_dtype(model.dtype, self.device)
        self.prefix, self.max_new_tokens = prefix, max_new_tokens
        self.model, self.processor = load_blip(model, self.dtype)
        self.model.to(self.device).eval()

    @torch.inference_mode()
    def caption(self, images: Iterable[Image.Image]) -> list[str]:
        """One caption for each picture, of any size, whatever the batch it comes in.

        Each is shrunk before the next one is asked for: a batch of a camera's pictures takes gigabytes.
        """
        look = self.processor.image_processor
        pixels = torch.cat([look(images=[image], return_tensors="pt").pixel_values for image in images])
        text = {}
        if self.prefix:
            tokens = self.processor.tokenizer([self.prefix] * len(pixels), return_tensors="pt")
            text = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
            text = {name: tensor.to(self.device) for name, tensor in text.items()}
        generated = self.model.generate(
            pixel_values=pixels.to(self.device, self.dtype),
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            num_beams=1,
            **text,
        )
        captions = self.processor.tokenizer.batch_decode(generated, skip_special_tokens=True)
        return [caption.strip() for caption in captions]


def load_blip(model: config.Model, dtype: torch.dtype) -> tuple[BlipForConditionalGeneration, BlipProcessor]:
    """The model, on the CPU in `dtype`, and its processor."""
    quiet_libraries()
    if is_random(model.name):
        if architecture_of(model.name) != "blip-large":
            raise ValueError(f"{model.name}: the only random captioner is random:blip-large")
        return random_blip_large(dtype), BlipProcessor(BlipImageProcessor(), _letter_tokenizer())
    path = resolve(model.name)
    loaded = load_safetensors(
        BlipForConditionalGeneration.from_pretrained, path, revision=model.revision, dtype=dtype
    )
    return loaded, BlipProcessor.from_pretrained(path, revision=model.revision)


def random_blip_large(dtype: torch.dtype) -> BlipForConditionalGeneration:
    """BLIP-large at its real size (446 M parameters, tied embeddings counted once), seeded random weights."""
    with seeded_by_name("blip-large"):
        return BlipForConditionalGeneration(BlipConfig(**BLIP_LARGE)).to(dtype)


def _letter_tokenizer() -> BertTokenizer:
    """A word-piece tokenizer of letters, since BERT's real vocabulary cannot be made up.

    Every id of the model's vocabulary has a piece, so that whatever random weights say is a caption.
    """
    letters = list(string.ascii_lowercase + string.digits + string.punctuation)
    pieces = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    pieces += [f"word{number}" for number in range(len(pieces), BlipTextConfig().vocab_size)]
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
