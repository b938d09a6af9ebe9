"""Diffusion editing in batches, through diffusers' pipelines; the methods are in `editing/`.

Every image of a batch has its own generator, seeded by the caller on the CPU, so its noise is the same on
any device, in any batch and in any order. A prompt's embedding is computed once in the life of an editor, and a
source is encoded once for all its edits.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    SchedulerMixin,
)
from diffusers.image_processor import VaeImageProcessor

from alia_ray import config
from alia_ray.images import Shape
from alia_ray.models.editing import METHODS
from alia_ray.models.editing.embedding import embed, embed_nothing
from alia_ray.models.editing.method import Family
from alia_ray.models.editing.vae import decode
from alia_ray.models.loading import load_safetensors, pick_device, pick_dtype, quiet_libraries
from alia_ray.models.naming import architecture_of, is_random, resolve
from alia_ray.models.random_diffusion import random_sd15

SCHEDULERS: dict[str, type[SchedulerMixin]] = {
    "dpm++": DPMSolverMultistepScheduler,
    "ddim": DDIMScheduler,
    "lcm": LCMScheduler,
}
"""By the names of `edit.scheduler`; "own" is the checkpoint's."""

_MOST_SHAPES = 64
"""Compiled for each: by default dynamo gives up after eight, and goes on without having compiled."""

_OPTIONS: dict[Family, dict[str, Any]] = {
    "sd": {"safety_checker": None, "requires_safety_checker": False},
    "sdxl": {"add_watermarker": False},
}


class Editor:
    """Edits batches of RGB images, of one shape each, under prompts.

    Raises OSError when the model cannot be found and ValueError when it is not of the method's kind.
    """

    def __init__(self, settings: config.Edit, device: torch.device | None = None) -> None:
        self.settings = settings
        self.device = device or pick_device()
        self.method = METHODS[settings.method]
        self.pipeline = load_pipeline(settings, pick_dtype(settings.model.dtype, self.device)).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.image_processor = VaeImageProcessor(
            vae_latent_channels=self.pipeline.vae.config.latent_channels  # it leaves these as they are
        )
        if settings.compile:
            self.pipeline.unet.fuse_qkv_projections()
            torch._dynamo.config.recompile_limit = _MOST_SHAPES
        for name in {"unet", "controlnet"} & set(self.pipeline.components):  # what runs at every step
            network = getattr(self.pipeline, name)
            if self.device.type == "cuda":
                network.to(memory_format=torch.channels_last)
            if settings.compile:
                network.compile(dynamic=False)
        self._takes_shape = "width" in inspect.signature(self.pipeline.__call__).parameters
        self._embeddings: dict[str, dict[str, torch.Tensor]] = {}
        self._nothing: dict[str, torch.Tensor] | None = None
        self.said: str | None = None  # what the person should know, who does not see a worker's own output
        self._most: int | None = None  # images that fit the device's memory at once, once that is known

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """What `edit` takes of its sources, on the editor's device; encode once, edit under many prompts.

        images: float (N, 3, H, W) in [0, 1], H and W multiples of 8. A method that does not look at its source
        gets (N, 0). Memory that does not do: as in `edit`.
        """
        return self._in_parts(
            len(images),
            lambda part: self.method.encode(self.pipeline, images[part].to(self.device), self.settings),
        )

    @torch.inference_mode()
    def edit(
        self, sources: torch.Tensor, prompts: list[str], seeds: list[int], shape: Shape | None = None
    ) -> torch.Tensor:
        """Edit one encoded source per prompt and seed.

        sources: of `encode`; shape: width and height of what was encoded, by default the square of `edit.size`.
        Returns float32 (N, 3, H, W) in [0, 1] on the editor's device; an image that came out as NaN, decoded in
        float32 as well, stays NaN. Where the device's memory does not do, the batch is halved from then on. Raises
        torch.OutOfMemoryError where it does not do for one image.
        """
        shape = shape or (self.settings.size, self.settings.size)
        return self._in_parts(
            len(prompts), lambda part: self._edit_padded(sources[part], prompts[part], seeds[part], shape)
        )

    def _in_parts(self, count: int, run: Callable[[slice], torch.Tensor]) -> torch.Tensor:
        """What `run` makes of `count` images, as many at once as fit the device's memory."""
        most = self._most or count
        parts, done = [], 0
        while done < count:
            made = None
            try:
                made = run(slice(done, done + most))
            except torch.OutOfMemoryError:
                if most == 1:
                    raise
            if made is None:  # not in the handler: the error's traceback holds on to the device's memory
                self._most = most = -(-min(most, count) // 2)
                torch.cuda.empty_cache()
                self.said = f"out of memory, going on with {most} images at once; lower edit.batch_size"
                continue
            parts.append(made)
            done += most
        return torch.cat(parts)

    def _edit_padded(
        self, sources: torch.Tensor, prompts: list[str], seeds: list[int], shape: Shape
    ) -> torch.Tensor:
        """Edit one batch; what is compiled gets full ones, the last edit repeated: it compiles once a shape."""
        count = len(prompts)
        full = min(self._most or self.settings.batch_size, self.settings.batch_size)
        if self.settings.compile and count < full:
            places = [min(place, count - 1) for place in range(full)]
            sources, prompts, seeds = sources[places], [prompts[p] for p in places], [seeds[p] for p in places]
        return self._edit(sources, prompts, seeds, shape)[:count]

    def _edit(self, sources: torch.Tensor, prompts: list[str], seeds: list[int], shape: Shape) -> torch.Tensor:
        embedded = [self._embedding(prompt) for prompt in prompts]
        latents = self.pipeline(
            **{name: torch.cat([each[name] for each in embedded]) for name in embedded[0]},
            **self.method.arguments(self.settings, sources),
            **(dict(zip(("width", "height"), shape, strict=True)) if self._takes_shape else {}),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            num_inference_steps=self.settings.steps,
            guidance_scale=self.settings.guidance_scale,
            output_type="latent",
        ).images
        return decode(self.pipeline.vae, latents / self.pipeline.vae.config.scaling_factor)

    def _embedding(self, prompt: str) -> dict[str, torch.Tensor]:
        if self._nothing is None:
            self._nothing = embed_nothing(self.pipeline)
        if prompt not in self._embeddings:
            self._embeddings[prompt] = embed(self.pipeline, prompt) | self._nothing
        return self._embeddings[prompt]


def load_pipeline(settings: config.Edit, dtype: torch.dtype) -> DiffusionPipeline:
    """The diffusers pipeline of `edit`, without a safety checker, on the CPU in `dtype`."""
    quiet_libraries()
    if is_random(settings.model.name):
        if architecture_of(settings.model.name) != "sd15":
            raise ValueError(f"{settings.model.name}: the only random editor is random:sd15, for any method")
        pipeline = random_sd15(settings.method, dtype)
    else:
        pipeline = _load(settings, dtype)
    if settings.scheduler != "own":
        # where a checkpoint's own does not say so, DDIM would clip latents to [-1, 1], as if they were pixels
        known = {**pipeline.scheduler.config, "clip_sample": False}
        pipeline.scheduler = SCHEDULERS[settings.scheduler].from_config(known)
    return pipeline


def _load(settings: config.Edit, dtype: torch.dtype) -> DiffusionPipeline:
    model, path = settings.model, resolve(settings.model.name)
    described = DiffusionPipeline.load_config(path, revision=model.revision)
    family: Family = "sdxl" if "XL" in described["_class_name"] else "sd"
    parts: dict[str, Any] = dict(_OPTIONS[family])
    if settings.method == "controlnet":
        control = settings.controlnet
        parts["controlnet"] = load_safetensors(
            ControlNetModel.from_pretrained, resolve(control.name), revision=control.revision, dtype=dtype
        )
    kind = METHODS[settings.method].pipelines[family]
    return load_safetensors(kind.from_pretrained, path, revision=model.revision, dtype=dtype, **parts)
