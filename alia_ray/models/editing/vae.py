"""The autoencoder between pixels and latents. What half precision cannot hold is done once more in float32."""

from collections.abc import Callable

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents

Vae = AutoencoderKL | AutoencoderTiny


def encode(vae: Vae, images: torch.Tensor) -> torch.Tensor:
    """Unscaled latents, (N, C, H / f, W / f) in the VAE's dtype, of images in [0, 1], float (N, 3, H, W).

    No draw from the posterior, but its mode: all edits of a source share it.
    """
    return _retried(
        vae, lambda pixels: retrieve_latents(vae.encode(pixels), sample_mode="argmax"), images * 2 - 1
    ).to(vae.dtype)


def decode(vae: Vae, latents: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1], float32, of unscaled latents; NaN stays NaN where float32 does not do either."""
    return (_retried(vae, lambda part: vae.decode(part).sample, latents) / 2 + 0.5).clamp(0, 1)


def _retried(vae: Vae, run: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    dtype = vae.dtype
    outputs = run(inputs.to(dtype)).float()
    broken = ~outputs.flatten(1).isfinite().all(dim=1)
    if broken.any() and dtype != torch.float32:
        vae.to(torch.float32)
        outputs[broken] = run(inputs[broken].float())
        vae.to(dtype)
    return outputs
