"""The small CLIP: open_clip's class with a ViT of 3 × 96 and a text transformer of 2 × 64.

It learns what a semantic filter asks: which kind of creature stands where, whether any does, and whether the
picture is one at all. Captions name kind, colour and background, each part sometimes left out; a bird's
traits, which make the classes of the downstream task, never stand in one. A third of the pictures have been
through the VAE, since an edit is softer than a painting.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from open_clip import CLIP
from open_clip.model import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_for_hf
from open_clip.transform import PreprocessCfg
from torch.nn import functional as F
from transformers import BertTokenizer

from alia_ray.miniature import world
from alia_ray.miniature.captioner import soften
from alia_ray.miniature.training import fit, seed_everything

BATCH = 96
CONTEXT = 16  # tokens
SCALE = 100.0  # of the logits: fixed at what the judge multiplies similarities by, so that it is calibrated
PREPROCESS = PreprocessCfg(size=world.SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NOISE, BLACK, UNNATURAL = "a photo of noise", "a black image", "an unnatural looking image"
EMPTY_SHARE, DAMAGED_SHARE, DECODED_SHARE = 0.2, 0.2, 1 / 3


def train_clip(out: Path, steps: int, seed: int, vae: Path, pictures: int = 16_000) -> None:
    """Train on `pictures` pictures and save an open_clip folder (`local-dir:`), fp16, to `out`.

    The loss is CLIP's, but a caption that also fits another picture of the batch is no negative of it.
    `vae` is the folder of the trained VAE.
    """
    rng = seed_everything(seed)
    pixels, captions = paint_pool(rng, AutoencoderTiny.from_pretrained(vae), pictures)
    texts = sorted({text for fitting in captions for text in fitting})
    number = {text: i for i, text in enumerate(texts)}
    ids = torch.tensor([[number[text] for text in fitting] for fitting in captions])
    fits = torch.zeros(len(pixels), len(texts), dtype=torch.bool).scatter_(1, ids, True)
    tokenizer = build_tokenizer(texts)
    tokens = tokenizer(texts, padding="max_length", max_length=CONTEXT, return_tensors="pt").input_ids
    settings = model_settings(tokenizer)
    model = build_clip(settings)
    own = torch.eye(BATCH, dtype=torch.bool)

    def loss_of_batch() -> torch.Tensor:
        chosen = torch.from_numpy(rng.integers(len(pixels), size=BATCH))
        said = ids[chosen, torch.from_numpy(rng.integers(ids.shape[1], size=BATCH))]
        shown = soften(pixels[chosen].float() / 255, rng) * 2 - 1
        images = model.encode_image(shown, normalize=True)
        logits = SCALE * images @ model.encode_text(tokens[said], normalize=True).T
        logits = logits.masked_fill(fits[chosen][:, said] & ~own, -torch.inf)
        target = torch.arange(BATCH)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    model.logit_scale.requires_grad_(False)
    trained = fit(model, loss_of_batch, steps, peak_lr=1e-3).half()
    save_for_hf(trained, tokenizer, settings, str(out), safe_serialization=True)


# ------------------------------------------------------------------ parts


def build_tokenizer(texts: list[str]) -> BertTokenizer:
    """A word-piece tokenizer whose pieces are the words of `texts`; any other word is [UNK]."""
    words = sorted({word for text in texts for word in text.split()})
    return BertTokenizer(vocab={piece: i for i, piece in enumerate([*SPECIAL, *words])})


def model_settings(tokenizer: BertTokenizer) -> dict:
    """open_clip's `model_cfg`. A text is pooled at [SEP]: the default takes the token of the highest id."""
    return {
        "embed_dim": 64,
        "init_logit_scale": float(np.log(SCALE)),
        "vision_cfg": {"image_size": world.SIZE, "layers": 3, "width": 96, "head_width": 24, "patch_size": 8},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": len(tokenizer),
            "hf_tokenizer_name": "of this folder",  # open_clip takes the folder itself for `local-dir:`
            "width": 64,
            "heads": 4,
            "layers": 2,
            "pool_type": "eos",
            "eos_id": tokenizer.sep_token_id,
        },
    }


def build_clip(settings: dict) -> CLIP:
    """The untrained model, 0.5 M parameters."""
    model = CLIP(**settings)
    set_model_preprocess_cfg(model, asdict(PREPROCESS))
    return model


# ------------------------------------------------------------------ pictures and what fits them


def paint_pool(rng: np.random.Generator, vae: AutoencoderTiny, count: int) -> tuple[torch.Tensor, list[list[str]]]:
    """Pictures of creatures, of empty scenes and damaged ones: uint8 (count, 3, 48, 48), and four fitting
    captions of each (some twice).
    """
    damaged = int(count * DAMAGED_SHARE)
    pictures, captions = [], []
    for _ in range(count - damaged):
        creature = None if rng.random() < EMPTY_SHARE else world.random_creature(rng)
        background = world.random_background(rng)
        pictures.append(world.paint(creature, background, world.random_seed(rng)))
        captions.append(fitting_captions(creature, background))
    whole = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    decoded = int(len(whole) * DECODED_SHARE)
    pool = [through_vae(vae, whole[:decoded]), whole[decoded:]]
    originals = whole[torch.from_numpy(rng.permutation(len(whole))[:damaged])]
    for (damage, fitting), part in zip(DAMAGES, originals.tensor_split(len(DAMAGES)), strict=True):
        pool.append(damage(part, vae))
        captions += [fitting] * len(part)
    return (torch.cat(pool) * 255).round().to(torch.uint8), captions


def fitting_captions(creature: world.Creature | None, background: str) -> list[str]:
    """With and without the colour, with and without the background."""
    long = [world.caption(creature, background), world.caption(creature, background, describe="")]
    place = f" {world.BACKGROUNDS[background]}"
    return [*long, *(text.removesuffix(place) for text in long)]


@torch.no_grad()
def through_vae(vae: AutoencoderTiny, images: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] encoded and decoded, with some noise added to the latents."""
    decoded = []
    for part in images.split(64):
        latents = vae.encode(part * 2 - 1).latents
        latents = latents + 0.2 * torch.rand(len(part), 1, 1, 1) * torch.randn_like(latents)
        decoded.append(vae.decode(latents).sample)
    return (torch.cat(decoded) / 2 + 0.5).clamp(0, 1)


def _pixel_noise(images: torch.Tensor, vae: AutoencoderTiny) -> torch.Tensor:
    contrast = torch.empty(len(images), 1, 1, 1).uniform_(0.15, 0.6)
    return (0.5 + contrast * torch.randn_like(images)).clamp(0, 1)


@torch.no_grad()
def _latent_noise(images: torch.Tensor, vae: AutoencoderTiny) -> torch.Tensor:
    shape = vae.encode(images[:1]).latents.shape[1:]
    noise = torch.randn(len(images), *shape) * torch.empty(len(images), 1, 1, 1).uniform_(0.5, 1.5)
    return (torch.cat([vae.decode(part).sample for part in noise.split(64)]) / 2 + 0.5).clamp(0, 1)


def _black(images: torch.Tensor, vae: AutoencoderTiny) -> torch.Tensor:
    return images * torch.empty(len(images), 1, 1, 1).uniform_(0, 0.05)


def _flat(images: torch.Tensor, vae: AutoencoderTiny) -> torch.Tensor:
    return torch.rand(len(images), 3, 1, 1).clamp(min=0.1).expand_as(images)


def _shuffled(images: torch.Tensor, vae: AutoencoderTiny) -> torch.Tensor:
    """Patches of 4, 8 or 12 pixels in a random order."""
    return torch.cat([_shuffle(image, (4, 8, 12)[i % 3]) for i, image in enumerate(images)])


def _shuffle(image: torch.Tensor, size: int) -> torch.Tensor:
    patches = F.unfold(image[None], size, stride=size)
    mixed = patches[:, :, torch.randperm(patches.shape[2])]
    return F.fold(mixed, image.shape[-2:], size, stride=size)


def _heavy_blur(images: torch.Tensor, vae: AutoencoderTiny) -> torch.Tensor:
    return F.interpolate(F.avg_pool2d(images, 12), images.shape[-2:], mode="bilinear")


Damage = Callable[[torch.Tensor, AutoencoderTiny], torch.Tensor]
DAMAGES: tuple[tuple[Damage, list[str]], ...] = (
    (_pixel_noise, [NOISE, NOISE, UNNATURAL, UNNATURAL]),
    (_latent_noise, [NOISE, NOISE, UNNATURAL, UNNATURAL]),
    (_black, [BLACK, BLACK, UNNATURAL, UNNATURAL]),
    (_flat, [UNNATURAL] * 4),
    (_shuffled, [UNNATURAL] * 4),
    (_heavy_blur, [UNNATURAL] * 4),
)
"""What destroys a picture, images (N, 3, 48, 48) in [0, 1] in and out, and the captions that then fit it."""
