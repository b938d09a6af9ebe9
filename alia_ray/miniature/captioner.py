"""The small captioner: BLIP's class with a ViT of 3 × 96 and a text decoder of 2 × 64.

It is shown birds, fish and beetles with captions that name colour, kind and background, nothing else: a
bird's traits, which make the classes of the downstream task, never stand in a caption.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
)

from alia_ray.miniature import world
from alia_ray.miniature.shapes import SIZE
from alia_ray.miniature.training import fit, seed_everything

BATCH = 48
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]


def build_processor() -> BlipProcessor:
    """Images of 48 pixels; words of the world as the vocabulary, [DEC] as the token that starts a caption."""
    words = {"a", "an", "photo", "of", "background", *world.COLOURS, *world.KINDS}
    words |= {word for phrase in world.BACKGROUNDS.values() for word in phrase.split()}
    pieces = [*SPECIAL, *sorted(words)]
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, bos_token="[DEC]")
    return BlipProcessor(BlipImageProcessor(size={"height": SIZE, "width": SIZE}), tokenizer)


def build_blip(vocabulary: int, decoder_start: int) -> BlipForConditionalGeneration:
    """The untrained model, 0.8 M parameters."""
    vision = {
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": SIZE,
        "patch_size": 8,
    }
    text = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "encoder_hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
        "bos_token_id": decoder_start,
        "eos_token_id": SPECIAL.index("[SEP]"),
        "pad_token_id": SPECIAL.index("[PAD]"),
        "sep_token_id": SPECIAL.index("[SEP]"),
    }
    return BlipForConditionalGeneration(BlipConfig(vision_config=vision, text_config=text))


def train_captioner(out: Path, steps: int, seed: int, pictures: int = 16_000) -> None:
    """Train on `pictures` paintings, a third of them softened, and save model and processor to `out`."""
    rng = seed_everything(seed)
    processor = build_processor()
    start = processor.tokenizer.convert_tokens_to_ids("[DEC]")
    model = build_blip(len(processor.tokenizer), start)
    pixels, captions = paint_captioned(rng, pictures)
    tokens = processor.tokenizer(captions, padding=True, return_tensors="pt")
    ids = tokens.input_ids.clone()
    ids[:, 0] = start
    labels = ids.masked_fill(tokens.attention_mask == 0, -100)
    labels[:, 0] = -100

    def loss_of_batch() -> torch.Tensor:
        chosen = torch.from_numpy(rng.integers(pictures, size=BATCH))
        shown = normalise(soften(pixels[chosen].float() / 255, rng), processor.image_processor)
        return model(
            pixel_values=shown,
            input_ids=ids[chosen],
            attention_mask=tokens.attention_mask[chosen],
            labels=labels[chosen],
        ).loss

    trained = fit(model, loss_of_batch, steps, peak_lr=1.5e-3)
    trained.half().save_pretrained(out)
    processor.save_pretrained(out)


def paint_captioned(rng: np.random.Generator, count: int) -> tuple[torch.Tensor, list[str]]:
    """Pictures, seven in ten of birds, as uint8 (count, 3, 48, 48), and their captions."""
    pixels, captions = [], []
    for _ in range(count):
        creature = world.random_creature(rng, str(rng.choice(world.KINDS, p=[0.7, 0.15, 0.15])))
        background = world.random_background(rng)
        pixels.append(world.paint(creature, background, world.random_seed(rng)))
        captions.append(world.caption(creature, background))
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), captions


def soften(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Blur a third of a batch and add noise to another: what is captioned need not be a clean painting."""
    kind = torch.from_numpy(rng.integers(3, size=len(images))).view(-1, 1, 1, 1)
    small = torch.nn.functional.avg_pool2d(images, 2)
    blurred = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    noisy = images + 0.04 * torch.randn_like(images)
    return torch.where(kind == 0, blurred, torch.where(kind == 1, noisy, images)).clamp(0, 1)


def normalise(images: torch.Tensor, processor: BlipImageProcessor) -> torch.Tensor:
    """Images in [0, 1] as the processor would hand them to the model."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (processor.image_mean, processor.image_std))
    return (images - mean) / std
