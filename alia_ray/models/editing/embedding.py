"""A prompt as the pipelines take it once its text encoders have read it."""

import torch
from diffusers import DiffusionPipeline


def embed(pipeline: DiffusionPipeline, prompt: str) -> dict[str, torch.Tensor]:
    """The pipeline's arguments for a prompt, and for none beside it, which guidance needs; first dimension 1."""
    if getattr(pipeline, "text_encoder_2", None) is not None:
        return _embed_sdxl(pipeline, prompt)
    return {"prompt_embeds": _states(pipeline, prompt), "negative_prompt_embeds": _states(pipeline, "")}


def _states(pipeline: DiffusionPipeline, prompt: str) -> torch.Tensor:
    """The text encoder's states, (1, tokens, width)."""
    tokens = pipeline.tokenizer(
        prompt,
        padding="max_length",
        max_length=pipeline.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return pipeline.text_encoder(tokens.input_ids.to(pipeline.device))[0]


def _embed_sdxl(pipeline: DiffusionPipeline, prompt: str) -> dict[str, torch.Tensor]:
    """SDXL reads with two encoders, and pools the second one's states as well."""
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    return dict(zip(names, pipeline.encode_prompt(prompt, device=pipeline.device), strict=True))
