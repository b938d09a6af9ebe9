"""The small VAE (diffusers `AutoencoderTiny`, f = 4, 12 latent channels): PCA encoder, trained decoder.

Without encoder blocks AutoencoderTiny's encoder is linear, so a PCA of 4 × 4 patches can be written into its
convolutions. That fixes the latents at once: the decoder and the UNets then train side by side.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny

from alia_ray.miniature import world
from alia_ray.miniature.training import fit, seed_everything, to_tensor

LATENT_CHANNELS = 12
PATCH = 4
PATCH_VALUES = 3 * PATCH * PATCH


def random_pictures(rng: np.random.Generator, count: int) -> np.ndarray:
    """Pictures of the world at large, one in ten without a creature: uint8 (count, 48, 48, 3)."""
    pictures = []
    for _ in range(count):
        creature = world.random_creature(rng) if rng.random() < 0.9 else None
        pictures.append(world.paint(creature, world.random_background(rng), world.random_seed(rng)))
    return np.stack(pictures)


def build_vae(rng: np.random.Generator) -> AutoencoderTiny:
    """An AutoencoderTiny whose encoder is the patch PCA of the world and whose decoder is untrained."""
    vae = AutoencoderTiny(
        encoder_block_out_channels=(PATCH_VALUES,) * 3,
        decoder_block_out_channels=(64, 64, 64),
        num_encoder_blocks=(0, 0, 0),
        num_decoder_blocks=(3, 3, 1),
        latent_channels=LATENT_CHANNELS,
    )
    _write_pca(vae, *_patch_pca(rng))
    vae.encoder.requires_grad_(False)
    return vae


def _patch_pca(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Components (12, 48) over patch values in [0, 1], scaled by std^-0.7, and the mean patch (48)."""
    pictures = torch.from_numpy(random_pictures(rng, 600)).permute(0, 3, 1, 2).double() / 255
    patches = _unshuffle(_unshuffle(pictures)).permute(0, 2, 3, 1).reshape(-1, PATCH_VALUES)
    mean = patches.mean(0)
    _, values, rows = torch.linalg.svd(patches[::7] - mean, full_matrices=False)
    std = values / (len(patches[::7]) ** 0.5)
    kept = slice(LATENT_CHANNELS)
    print(f"PCA keeps {float((std[kept] ** 2).sum() / (std**2).sum()):.4f} of the variance", flush=True)
    return (rows[kept] * std[kept, None] ** -0.7).float(), mean.float()


def _unshuffle(pictures: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pixel_unshuffle(pictures, 2)


def _write_pca(vae: AutoencoderTiny, components: torch.Tensor, mean: torch.Tensor) -> None:
    """Identity, 2 × 2 unshuffle, 2 × 2 unshuffle, projection: the encoder's four 3 × 3 convolutions."""
    first, halve, halve_again, project = vae.encoder.layers
    with torch.no_grad():
        for conv in (first, halve, halve_again, project):
            conv.weight.zero_()
            if conv.bias is not None:
                conv.bias.zero_()
        for channel in range(3):
            first.weight[channel, channel, 1, 1] = 1
        for conv, channels in ((halve, 3), (halve_again, 12)):
            for channel in range(channels):
                for row in range(2):
                    for col in range(2):
                        conv.weight[channel * 4 + row * 2 + col, channel, 1 + row, 1 + col] = 1
        project.weight[:, :, 1, 1] = components
        project.bias.copy_(-components @ mean)


@torch.no_grad()
def encode(vae: AutoencoderTiny, pictures: np.ndarray) -> torch.Tensor:
    """uint8 (N, 48, 48, 3) -> latents float32 (N, 12, 12, 12)."""
    return torch.cat(
        [vae.encode(to_tensor(part)).latents for part in np.array_split(pictures, len(pictures) // 256 + 1)]
    )


def train_vae(out: Path, steps: int = 9000, seed: int = 11, pictures: int = 12_000) -> None:
    """Train the decoder on 24-pixel crops (L1 and the L1 of its gradients) and save the VAE to `out`."""
    rng = seed_everything(seed)
    vae = build_vae(rng)
    shown, held_out = random_pictures(rng, pictures), random_pictures(rng, 256)
    decoder = vae.decoder.to(memory_format=torch.channels_last)
    latents, targets = encode(vae, shown), torch.from_numpy(shown).permute(0, 3, 1, 2)

    def loss_of_batch() -> torch.Tensor:
        chosen = torch.from_numpy(rng.integers(len(latents), size=24))
        i, j = (int(v) for v in rng.integers(0, 7, size=2))
        noisy = latents[chosen, :, i : i + 6, j : j + 6]
        noisy = noisy + 0.03 * torch.randn_like(noisy)
        target = targets[chosen, :, PATCH * i : PATCH * (i + 6), PATCH * j : PATCH * (j + 6)].float() / 127.5 - 1
        decoded = decoder(noisy.contiguous(memory_format=torch.channels_last))
        return _l1(decoded, target) + 0.5 * _gradient_l1(decoded, target)

    vae.decoder.load_state_dict(fit(decoder, loss_of_batch, steps, peak_lr=1.5e-3).state_dict())
    print(f"held-out PSNR {_psnr(vae, held_out):.2f} dB", flush=True)
    vae.save_pretrained(out)


def _l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).abs().mean()


def _gradient_l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _l1(a.diff(dim=2), b.diff(dim=2)) + _l1(a.diff(dim=3), b.diff(dim=3))


@torch.no_grad()
def _psnr(vae: AutoencoderTiny, pictures: np.ndarray) -> float:
    decoded = vae.decode(encode(vae, pictures)).sample.clamp(-1, 1)
    error = ((decoded - to_tensor(pictures)) / 2).pow(2).mean(dim=(1, 2, 3))
    return float((-10 * error.log10()).mean())
