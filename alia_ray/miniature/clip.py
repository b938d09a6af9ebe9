"""The small CLIP: open_clip's class with a ViT of 3 × 96 and a text tower of 2 × 64.

It is shown creatures, empty scenes and destroyed pictures, with texts that say more or less about them: a text
is a positive of every picture that it is true of. Bird traits, which make the downstream classes, are in none.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from transformers import BertTokenizer

from alia_ray.miniature import world
from alia_ray.miniature.captioner import SPECIAL, soften
from alia_ray.miniature.shapes import SIZE
from alia_ray.miniature.training import fit, seed_everything

BATCH = 96
CONTEXT = 16
DESTROYED_TEXTS = {
    "noise": "a photo of noise",
    "black": "a black image",
    "unnatural": "an unnatural looking image",
}
SUBJECTS = (*world.KINDS, "background", *DESTROYED_TEXTS)
ANY = -1  # an attribute that a text does not name, or that a picture does not have
MODEL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": SIZE, "layers": 3, "width": 96, "head_width": 24, "patch_size": 8},
    "text_cfg": {
        "context_length": CONTEXT,
        "width": 64,
        "heads": 4,
        "layers": 2,
        "pool_type": "eos",  # `argmax` would take the token with the highest id for the end of the text
        "eos_id": SPECIAL.index("[SEP]"),
        "pad_id": SPECIAL.index("[PAD]"),
        "hf_tokenizer_name": "local",
    },
}
PREPROCESS = {"size": [48, 48], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic"}


@dataclass(frozen=True)
class Pictures:
    """uint8 (N, 3, 48, 48) and what is true of each: (subject, colour, background), int (N, 3)."""

    pixels: torch.Tensor
    facts: torch.Tensor


def build_tokenizer() -> BertTokenizer:
    """Word pieces of the world's captions and of the texts for destroyed pictures."""
    texts = [*DESTROYED_TEXTS.values(), "a an photo of background", *world.BACKGROUNDS.values()]
    words = {word for text in texts for word in text.split()} | set(world.COLOURS) | set(world.KINDS)
    return BertTokenizer(vocab={piece: i for i, piece in enumerate([*SPECIAL, *sorted(words)])})


def train_clip(out: Path, steps: int, seed: int, vae: Path, pictures: int = 14_000) -> None:
    """Train, and save a folder that open_clip loads as `local-dir:`.

    `vae` is the folder of the small VAE, which makes soft pictures and decoded noise.
    """
    rng = seed_everything(seed)
    tokenizer = build_tokenizer()
    settings = json.loads(json.dumps(MODEL))
    settings["text_cfg"]["vocab_size"] = len(tokenizer)
    model = open_clip.CLIP(
        settings["embed_dim"], vision_cfg=settings["vision_cfg"], text_cfg=settings["text_cfg"], output_dict=False
    )
    shown = paint_pictures(rng, AutoencoderTiny.from_pretrained(vae), pictures)

    def tokens(texts: list[str]) -> torch.Tensor:
        return tokenizer(texts, padding="max_length", max_length=CONTEXT, return_tensors="pt").input_ids

    trained = fit(model, _contrastive(model, shown, tokens, rng), steps, peak_lr=1e-3)
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.half().contiguous() for k, v in trained.state_dict().items()}, out / "open_clip_model.safetensors"
    )
    described = {"model_cfg": settings, "preprocess_cfg": PREPROCESS}
    (out / "open_clip_config.json").write_text(json.dumps(described, indent=2) + "\n")
    tokenizer.save_pretrained(out)


def _contrastive(
    model: open_clip.CLIP, shown: Pictures, tokens: Callable[[list[str]], torch.Tensor], rng: np.random.Generator
) -> Callable[[], torch.Tensor]:
    """CLIP's symmetric loss, with every true text of a picture as its target."""

    def loss_of_batch() -> torch.Tensor:
        chosen = torch.from_numpy(rng.integers(len(shown.facts), size=BATCH))
        images = soften(shown.pixels[chosen].float() / 255, rng)
        facts = shown.facts[chosen]
        claims = _claims(facts, rng)
        image_features = F.normalize(model.encode_image((images - 0.5) / 0.25), dim=1)
        text_features = F.normalize(model.encode_text(tokens([_text(claim) for claim in claims.tolist()])), dim=1)
        logits = model.logit_scale.exp().clamp(max=100) * image_features @ text_features.T
        true = ((claims[None] == ANY) | (claims[None] == facts[:, None])).all(2).float()
        by_image = -(logits.log_softmax(1) * true).sum(1) / true.sum(1)
        by_text = -(logits.log_softmax(0) * true).sum(0) / true.sum(0)
        return (by_image.mean() + by_text.mean()) / 2

    return loss_of_batch


def _claims(facts: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """What the text of each picture names: always the subject; colour and background each half the time."""
    claims = facts.clone()
    claims[torch.from_numpy(rng.random(len(facts)) < 0.5), 1] = ANY
    claims[torch.from_numpy(rng.random(len(facts)) < 0.5), 2] = ANY
    return claims


def _text(claim: list[int]) -> str:
    """(subject, colour, background) as a text: "a photo of a red bird in the snow"."""
    subject, colour, background = claim
    if SUBJECTS[subject] in DESTROYED_TEXTS:
        return DESTROYED_TEXTS[SUBJECTS[subject]]
    word = list(world.COLOURS)[colour] + " " if colour != ANY else ""
    place = " " + list(world.BACKGROUNDS.values())[background] if background != ANY else ""
    noun = f"{word}{SUBJECTS[subject]}"
    return f"a photo of {'an' if noun[0] in 'aeiou' else 'a'} {noun}{place}"


# -------------------------------------------------------------------- pictures


@torch.no_grad()
def paint_pictures(rng: np.random.Generator, vae: AutoencoderTiny, count: int) -> Pictures:
    """Half creatures (most of them birds), a quarter empty scenes, a quarter destroyed pictures.

    Every other creature and scene has been through the VAE, as edits have.
    """
    scenes = [_scene(rng) for _ in range(count * 3 // 4)]
    painted = torch.from_numpy(np.stack([pixels for pixels, _ in scenes])).permute(0, 3, 1, 2)
    facts = torch.tensor([facts for _, facts in scenes])
    soft = torch.cat([_through(vae, part) for part in painted[::2].split(256)])
    painted = painted.clone()
    painted[::2] = soft
    destroyed = [_destroyed(rng, painted, vae) for _ in range(count - len(scenes))]
    pixels = torch.cat([painted, torch.stack([pixels for pixels, _ in destroyed])])
    return Pictures(pixels, torch.cat([facts, torch.tensor([facts for _, facts in destroyed])]))


def _scene(rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int, int]]:
    background = world.random_background(rng)
    place = list(world.BACKGROUNDS).index(background)
    if rng.random() < 1 / 3:
        pixels = world.paint(None, background, world.random_seed(rng))
        return pixels, (SUBJECTS.index("background"), ANY, place)
    creature = world.random_creature(rng, str(rng.choice(world.KINDS, p=[0.6, 0.2, 0.2])))
    pixels = world.paint(creature, background, world.random_seed(rng))
    return pixels, (SUBJECTS.index(creature.kind), list(world.COLOURS).index(creature.colour), place)


def _through(vae: AutoencoderTiny, pixels: torch.Tensor) -> torch.Tensor:
    decoded = vae.decode(vae.encode(pixels.float() / 127.5 - 1).latents).sample
    return _to_bytes(decoded / 2 + 0.5)


def _to_bytes(images: torch.Tensor) -> torch.Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def _destroyed(
    rng: np.random.Generator, painted: torch.Tensor, vae: AutoencoderTiny
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """A picture of nothing: pixel noise, a flat colour, shuffled patches, or decoded latent noise."""
    size, kind = SIZE, rng.integers(5)
    if kind == 0:
        return torch.from_numpy(rng.integers(0, 256, (3, size, size), dtype=np.uint8)), _fact("noise")
    if kind == 1:
        return torch.from_numpy(rng.integers(0, 12, (3, size, size), dtype=np.uint8)), _fact("black")
    if kind == 2:
        colour = torch.from_numpy(rng.integers(20, 256, (3, 1, 1), dtype=np.uint8))
        return colour.expand(3, size, size).clone(), _fact("unnatural")
    if kind == 3:
        patches = painted[int(rng.integers(len(painted)))].unfold(1, 8, 8).unfold(2, 8, 8).reshape(3, 36, 8, 8)
        mixed = patches[:, torch.from_numpy(rng.permutation(36))].reshape(3, 6, 6, 8, 8)
        return mixed.permute(0, 1, 3, 2, 4).reshape(3, size, size).contiguous(), _fact("unnatural")
    noise = torch.from_numpy(rng.standard_normal((1, vae.config.latent_channels, 12, 12), dtype=np.float32))
    return _to_bytes(vae.decode(noise * float(rng.uniform(0.5, 1.5))).sample[0] / 2 + 0.5), _fact("unnatural")


def _fact(subject: str) -> tuple[int, int, int]:
    return SUBJECTS.index(subject), ANY, ANY
