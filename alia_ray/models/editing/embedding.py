"""A prompt as the pipelines take it once its text encoders have read it."""

import torch
from diffusers import DiffusionPipeline


def embed(pipeline: DiffusionPipeline, prompt: str) -> dict[str, torch.Tensor]:
    """The pipeline's arguments for a prompt; first dimension 1."""
    if _is_sdxl(pipeline):
        states, _, pooled, _ = pipeline.encode_prompt(
            prompt, device=pipeline.device, do_classifier_free_guidance=False
        )
        return {"prompt_embeds": states, "pooled_prompt_embeds": pooled}
    return {"prompt_embeds": _states(pipeline, prompt)}


def embed_nothing(pipeline: DiffusionPipeline) -> dict[str, torch.Tensor]:
    """Its arguments for no prompt, which guidance leads away from; first dimension 1."""
    if _is_sdxl(pipeline):
        _, states, _, pooled = pipeline.encode_prompt("", device=pipeline.device)
        return {"negative_prompt_embeds": states, "negative_pooled_prompt_embeds": pooled}
    return {"negative_prompt_embeds": _states(pipeline, "")}


def _is_sdxl(pipeline: DiffusionPipeline) -> bool:
    """SDXL reads with two encoders, and pools the second one's states as well."""
    return getattr(pipeline, "text_encoder_2", None) is not None


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
