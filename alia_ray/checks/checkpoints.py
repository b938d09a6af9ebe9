"""Whether a model's files are all there, and are of the kind that its key asks for.

Only names, JSON and the headers of safetensors are looked at. Each check yields what is wrong, to be read after
the model's name: "lacks unet/config.json".
"""

import re
from collections.abc import Iterator
from typing import Any

from safetensors import SafetensorError, safe_open

from alia_ray.checks.model_files import Files
from alia_ray.config.edit import Method
from alia_ray.models.naming import CLIP_WEIGHTS, VARIANTS

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf")
_TOKENIZER = re.compile(r"tokenizer\.json|vocab\.(txt|json)|tekken\.json|.*\.(model|tiktoken)")
_DIFFUSERS, _TRANSFORMERS = "diffusion_pytorch_model", "model"  # what the libraries call weights
_NETWORKS = {
    "unet": _DIFFUSERS,
    "vae": _DIFFUSERS,
    "text_encoder": _TRANSFORMERS,
    "text_encoder_2": _TRANSFORMERS,
    "image_encoder": _TRANSFORMERS,
}
_CONFIGS = {"scheduler": "scheduler_config.json", "feature_extractor": "preprocessor_config.json"}
_NO_METHOD = "which no editing method takes; name a checkpoint of Stable Diffusion 1, 2 or XL"


# -------------------------------------------------------------------- what edits


def pipeline(files: Files, method: Method) -> Iterator[str]:
    """A checkpoint of diffusers, for a method of editing."""
    if "model_index.json" not in files.names:
        yield _no_pipeline(files)
        return
    index = files.read("model_index.json")
    parts = {name: part for name, part in index.items() if isinstance(part, list) and len(part) == 2}
    kinds = {name: kind for name, (_, kind) in parts.items() if kind}
    if own := [
        place for name, (module, _) in parts.items() for place in _code_of(name, module) if place in files.names
    ]:
        yield f"brings Python code of its own ({own[0]}), which is never run; name a checkpoint without"
        return
    misfit = _no_editor(index.get("_class_name", "nameless pipeline"), kinds) or _other_method(files, method)
    if misfit:
        yield misfit
        return
    for name in kinds:
        if name in _NETWORKS:
            yield from _network(files, name, _NETWORKS[name])
        elif name.startswith("tokenizer"):
            yield from _tokenizer(files, name)
        elif name in _CONFIGS and f"{name}/{_CONFIGS[name]}" not in files.names:
            yield f"lacks {name}/{_CONFIGS[name]}"
    yield from _mixed(files, [name for name in kinds if name in _NETWORKS])


def _code_of(name: str, module: str | None) -> tuple[str, str]:
    """Where diffusers would look for the code of a part, if it were allowed to run any."""
    return f"{module}.py", f"{name}/{module}.py"


def _no_pipeline(files: Files) -> str:
    beside = files.inside("")
    if {"pytorch_lora_weights.safetensors", "adapter_config.json"} & beside:
        return (
            "is a LoRA and no checkpoint: load its base model, fuse it (fuse_lora), save that and name its folder"
        )
    single = sorted(name for name in beside if name.endswith((".safetensors", ".ckpt")))
    if single and "config.json" not in beside:
        return (
            f"has no model_index.json but the single file {single[0]}: load that by diffusers' from_single_file, "
            "save it by save_pretrained, and name its folder"
        )
    return f"has no model_index.json, so it is no checkpoint of diffusers, {_NO_METHOD}"


def _no_editor(pipeline_class: str, kinds: dict[str, str]) -> str | None:
    """What a checkpoint is that no method of ours edits with."""
    if kinds.get("unet") != "UNet2DConditionModel" or "vae" not in kinds:
        return f"is a {pipeline_class}, {_NO_METHOD}"
    if "text_encoder" not in kinds:
        kind = "the refiner of SDXL" if "text_encoder_2" in kinds else f"a {pipeline_class} that reads no prompt"
        return f"is {kind}, {_NO_METHOD}"
    return None


def _other_method(files: Files, method: Method) -> str | None:
    """What a checkpoint is that another method edits with, by how many channels its UNet takes."""
    if not {"vae/config.json", "unet/config.json"} <= files.names:
        return None
    unet = files.read("unet/config.json")
    if unet.get("class_embed_type"):
        return f"is conditioned on more than a prompt (its UNet has a class_embed_type), {_NO_METHOD}"
    latents, taken = files.read("vae/config.json").get("latent_channels", 4), unet.get("in_channels", 4)
    needed = 2 * latents if method == "instruct_pix2pix" else latents
    if taken == needed:
        return None
    kind, fits = {
        latents: ("a text-to-image model", "img2img, controlnet and text_to_image"),
        2 * latents: ("an InstructPix2Pix model", "instruct_pix2pix"),
        2 * latents + 1: ("an inpainting model", "no method here"),
    }.get(taken, ("another kind of model", "no method here"))
    return f"is {kind} (its UNet takes {taken} channels, not {needed}): it fits {fits}, and not {method}"


def controlnet(files: Files, unet: dict[str, Any]) -> Iterator[str]:
    """A ControlNet, for a checkpoint whose unet/config.json is `unet`."""
    config = files.read("config.json")
    kind = config.get("_class_name", "ControlNetModel")
    if kind != "ControlNetModel":
        yield f"is a {kind} and not a ControlNetModel; name a ControlNet of the family of edit.model"
        return
    yield from _network(files, "", _DIFFUSERS)
    for name in ("cross_attention_dim", "in_channels"):
        if name in config and name in unet and config[name] != unet[name]:
            yield (
                f"is of another family than edit.model (its {name} is {config[name]}, that of the model "
                f"{unet[name]}); name a ControlNet that was trained for it"
            )
            return


# -------------------------------------------------------------------- what captions, speaks and judges


def captioner(files: Files) -> Iterator[str]:
    """BLIP, of transformers."""
    kind = files.read("config.json").get("model_type", "blip")
    if kind != "blip":
        yield f"is a {kind!r} and no BLIP, such as Salesforce/blip-image-captioning-large"
        return
    yield from _network(files, "", _TRANSFORMERS)
    yield from _tokenizer(files, "")
    if not {"preprocessor_config.json", "processor_config.json"} & files.names:
        yield "lacks preprocessor_config.json"


def safety_checker(files: Files) -> Iterator[str]:
    """Stable Diffusion's safety checker, of diffusers."""
    kinds = files.read("config.json").get("architectures") or ["StableDiffusionSafetyChecker"]
    if "StableDiffusionSafetyChecker" not in kinds:
        yield f"is a {kinds[0]} and no safety checker, such as CompVis/stable-diffusion-safety-checker"
        return
    yield from _network(files, "", _TRANSFORMERS)


def llm(files: Files) -> Iterator[str]:
    """A language model for vLLM, which takes safetensors of any name."""
    beside = files.inside("")
    yield from _config(files, "")
    if "model.safetensors.index.json" in beside or not any(name.endswith(".safetensors") for name in beside):
        yield from _weights(files, "", _TRANSFORMERS)
    yield from _tokenizer(files, "")


def clip(files: Files) -> Iterator[str]:
    """A CLIP that open_clip wrote."""
    if "open_clip_config.json" not in files.names:
        yield "lacks open_clip_config.json, so open_clip did not write it; name a folder or hf-hub: id that it did"
        return
    if CLIP_WEIGHTS in files.names:
        yield from _broken(files, [CLIP_WEIGHTS])
    else:
        yield _no_weights(files, "", CLIP_WEIGHTS)
    described = files.read("open_clip_config.json")
    mode = described.get("preprocess_cfg", {}).get("resize_mode") or "shortest"
    if mode not in ("shortest", "squash"):
        yield f"resizes pictures by {mode!r}, and only 'shortest' and 'squash' are known here; name another"
    text = described.get("model_cfg", {}).get("text_cfg", {})
    if text.get("hf_tokenizer_name"):
        yield from _tokenizer(files, "")


# -------------------------------------------------------------------- files


def _network(files: Files, folder: str, stem: str) -> Iterator[str]:
    yield from _config(files, folder)
    yield from _weights(files, folder, stem)


def _config(files: Files, folder: str) -> Iterator[str]:
    if "config.json" not in files.inside(folder):
        yield f"lacks {_below(folder, 'config.json')}"


def _tokenizer(files: Files, folder: str) -> Iterator[str]:
    if not any(_TOKENIZER.fullmatch(name) for name in files.inside(folder)):
        yield f"lacks {_below(folder, 'tokenizer.json')}, or another tokenizer"


def _weights(files: Files, folder: str, stem: str) -> Iterator[str]:
    """What is wrong with the weights in a folder: one file of safetensors, or the shards of an index."""
    for file in _of_variants(files, folder, stem).values():
        if file.endswith(".json"):
            yield from _shards(files, folder, file)
        else:
            yield from _broken(files, [_below(folder, file)])
        return
    yield _no_weights(files, folder, f"{stem}.safetensors")


def _of_variants(files: Files, folder: str, stem: str) -> dict[str, str]:
    """variant, "" for none -> the file of its weights, or of the index of its shards; what is loaded first."""
    inside, found = files.inside(folder), {}
    for variant in ("", *VARIANTS):
        mark = f".{variant}" if variant else ""
        for name in (f"{stem}{mark}.safetensors", f"{stem}.safetensors.index{mark}.json"):
            if name in inside:
                found.setdefault(variant, name)
    return found


def _mixed(files: Files, networks: list[str]) -> Iterator[str]:
    """Networks that are there in variants alone, and not all in the same one, by which diffusers loads them."""
    variants = {name: list(_of_variants(files, name, _NETWORKS[name])) for name in networks}
    bound = {name: found for name, found in variants.items() if found and "" not in found}
    if bound and not set.intersection(*map(set, bound.values())):
        said = ", ".join(f"{name} as {' and '.join(found)}" for name, found in sorted(bound.items()))
        yield f"has its weights in variants that are not loaded together ({said}); name one with one variant"


def _shards(files: Files, folder: str, index: str) -> Iterator[str]:
    shards = sorted(set(files.read(_below(folder, index)).get("weight_map", {}).values()))
    missing = [shard for shard in shards if shard not in files.inside(folder)]
    if missing:
        yield f"lacks {len(missing)} of {len(shards)} shards, {_below(folder, missing[0])} first"
    else:
        yield from _broken(files, [_below(folder, shard) for shard in shards])


def _no_weights(files: Files, folder: str, wanted: str) -> str:
    others = sorted(name for name in files.inside(folder) if name.endswith(_PICKLED))
    if others:
        return (
            f"has no weights as safetensors, only {_below(folder, others[0])}, which is not opened; save it as "
            "safetensors, or name a model that has them"
        )
    return f"lacks {_below(folder, wanted)}"


def _broken(files: Files, names: list[str]) -> Iterator[str]:
    """Weights that are here and were not downloaded whole, or are a mere pointer of git-lfs."""
    for name in names if files.is_here else ():
        try:
            with safe_open(files.path(name), framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            yield f"has a broken {name} ({error}); download it again (in a clone: `git lfs pull`)"
            return


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
