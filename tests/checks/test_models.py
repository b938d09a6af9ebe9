"""Models that are not there, not whole or of another kind are refused before anything is paid for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from alia_ray.checks import model_files
from alia_ray.checks.models import wrong_things
from alia_ray.config import load_config
from alia_ray.miniature.recipes import DEMO, EDITING
from alia_ray.models.naming import WEIGHTS

HUB = "ORG/MODEL"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """No test depends on what this machine has in the hub's cache, or asks the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(model_files, "HfApi", hub_of(OSError("no network")))


def hub_of(answer: Exception | Path) -> Callable[[], SimpleNamespace]:
    """A hub that fails, or that has the files of a folder under every name."""

    def model_info(name: str, **_: object) -> SimpleNamespace:
        if isinstance(answer, Exception):
            raise answer
        files = [path.relative_to(answer).as_posix() for path in answer.rglob("*") if path.is_file()]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in files])

    return lambda: SimpleNamespace(model_info=model_info)


def copy(name: str, folder: Path) -> Path:
    return shutil.copytree(WEIGHTS / name, folder / name)


def change(path: Path, **values: object) -> None:
    """Other values in a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def said(*overrides: str, stages: tuple[str, ...] = ("caption", "discover", "edit")) -> list[str]:
    return list(wrong_things(load_config(DEMO, list(overrides)), stages))


@pytest.mark.parametrize("method", EDITING)
def test_the_miniature_models_are_whole_and_fit_their_methods(method):
    assert said(*EDITING[method]) == []


# -------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("model", "key", "file"),
    [
        ("instruct_pix2pix", "edit.model.name", "model_index.json"),
        ("instruct_pix2pix", "edit.model.name", "unet/config.json"),
        ("instruct_pix2pix", "edit.model.name", "vae/diffusion_pytorch_model.safetensors"),
        ("instruct_pix2pix", "edit.model.name", "text_encoder/model.safetensors"),
        ("instruct_pix2pix", "edit.model.name", "tokenizer/tokenizer.json"),
        ("instruct_pix2pix", "edit.model.name", "scheduler/scheduler_config.json"),
        ("captioner", "caption.model.name", "config.json"),
        ("captioner", "caption.model.name", "model.safetensors"),
        ("captioner", "caption.model.name", "tokenizer.json"),
        ("llm", "llm.model.name", "config.json"),
        ("llm", "llm.model.name", "model.safetensors"),
        ("llm", "llm.model.name", "tokenizer.json"),
        ("clip", "judge.model.name", "open_clip_config.json"),
        ("clip", "judge.model.name", "open_clip_model.safetensors"),
        ("clip", "judge.model.name", "tokenizer.json"),
    ],
)
def test_a_file_that_a_model_lacks_is_named(tmp_path, model, key, file):
    folder = copy(model, tmp_path)
    assert said(f"{key}={folder}") == []
    (folder / file).unlink()
    [sentence] = said(f"{key}={folder}")
    assert sentence.startswith(f"{key}: {folder} ")
    assert file in sentence


@pytest.mark.parametrize("place", ["mine.py", "unet/mine.py"])
def test_a_checkpoint_that_brings_code_is_refused(tmp_path, place):
    folder = copy("instruct_pix2pix", tmp_path)
    (folder / place).write_text("raise SystemExit('run')")
    assert said(f"edit.model.name={folder}") == []  # which nothing names
    change(folder / "model_index.json", unet=["mine", "Network"])
    [sentence] = said(f"edit.model.name={folder}")
    assert f"brings Python code of its own ({place}), which is never run" in sentence


def half_precision_alone(tmp_path: Path) -> Path:
    folder = copy("instruct_pix2pix", tmp_path)
    for weights in folder.rglob("*.safetensors"):
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    return folder


def test_half_precision_does_where_it_is_all_there_is(tmp_path):
    assert said(f"edit.model.name={half_precision_alone(tmp_path)}") == []


def test_variants_that_are_not_loaded_together_are_refused(tmp_path):
    folder = half_precision_alone(tmp_path)
    unet = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    unet.rename(unet.with_name("diffusion_pytorch_model.bf16.safetensors"))
    [sentence] = said(f"edit.model.name={folder}")
    assert "not loaded together (text_encoder as fp16, unet as bf16, vae as fp16)" in sentence


@pytest.mark.parametrize(
    ("model", "key", "weights", "pickled"),
    [
        ("instruct_pix2pix", "edit.model.name", "unet/diffusion_pytorch_model.safetensors", "unet/unet.bin"),
        ("captioner", "caption.model.name", "model.safetensors", "pytorch_model.bin"),
        ("clip", "judge.model.name", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    ],
)
def test_pickled_weights_alone_are_refused_as_such(tmp_path, model, key, weights, pickled):
    folder = copy(model, tmp_path)
    (folder / weights).rename(folder / pickled)
    [sentence] = said(f"{key}={folder}")
    assert f"has no weights as safetensors, only {pickled}" in sentence


def test_shards_that_an_index_names_must_be_there(tmp_path):
    folder = copy("captioner", tmp_path)
    weights = folder / "model.safetensors"
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for shard in shards:
        shutil.copy(weights, folder / shard)
    weights.unlink()
    index = {"weight_map": {"a": shards[0], "b": shards[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert said(f"caption.model.name={folder}") == []
    (folder / shards[1]).unlink()
    [sentence] = said(f"caption.model.name={folder}")
    assert f"lacks 1 of 2 shards, {shards[1]} first" in sentence


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", b""])
def test_weights_that_were_not_downloaded_whole_are_refused(tmp_path, content):
    folder = copy("captioner", tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    [sentence] = said(f"caption.model.name={folder}")
    assert "has a broken model.safetensors" in sentence


def test_weights_that_end_early_are_refused(tmp_path):
    weights = copy("clip", tmp_path) / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    [sentence] = said(f"judge.model.name={weights.parent}")
    assert "has a broken open_clip_model.safetensors" in sentence


def test_a_clip_that_sees_pictures_otherwise_than_it_would_be_shown_them_is_refused(tmp_path):
    description = copy("clip", tmp_path) / "open_clip_config.json"
    preprocessing = json.loads(description.read_text())["preprocess_cfg"]
    for mode in ("squash", "shortest", "longest"):
        change(description, preprocess_cfg={**preprocessing, "resize_mode": mode})
        refused = said(f"judge.model.name={description.parent}")
        assert bool(refused) == (mode == "longest")
    assert "resizes pictures by 'longest'" in refused[0]


def test_a_broken_description_is_a_sentence(tmp_path):
    folder = copy("instruct_pix2pix", tmp_path)
    (folder / "model_index.json").write_text("{")
    [sentence] = said(f"edit.model.name={folder}")
    assert "has a broken model_index.json" in sentence


# -------------------------------------------------------------------- kinds


CANNY = ["edit.controlnet.name=miniature:controlnet"]


@pytest.mark.parametrize(
    ("method", "model", "is_a", "fits"),
    [
        ("img2img", "instruct_pix2pix", "an InstructPix2Pix model", "it fits instruct_pix2pix"),
        ("controlnet", "instruct_pix2pix", "an InstructPix2Pix model", "it fits instruct_pix2pix"),
        ("instruct_pix2pix", "img2img", "a text-to-image model", "it fits img2img, controlnet and text_to_image"),
    ],
)
def test_a_model_of_another_method_is_refused_with_the_one_it_fits(method, model, is_a, fits):
    [sentence] = said(f"edit.method={method}", f"edit.model.name=miniature:{model}", *CANNY)
    assert is_a in sentence
    assert fits in sentence


def test_an_inpainting_model_is_refused(tmp_path):
    folder = copy("img2img", tmp_path)
    change(folder / "unet" / "config.json", in_channels=25)
    [sentence] = said("edit.method=img2img", f"edit.model.name={folder}")
    assert "is an inpainting model (its UNet takes 25 channels, not 12)" in sentence


@pytest.mark.parametrize(
    ("index", "is_a"),
    [
        ({"_class_name": "FluxPipeline", "unet": [None, None]}, "is a FluxPipeline"),
        ({"unet": ["diffusers", "UNet3DConditionModel"], "_class_name": "TextToVideoSDPipeline"}, "is a TextTo"),
        (
            {"text_encoder": [None, None], "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]},
            "is the refiner of SDXL",
        ),
        ({"text_encoder": [None, None], "_class_name": "StableDiffusionImageVariationPipeline"}, "no prompt"),
    ],
)
def test_a_checkpoint_that_no_method_takes_is_named(tmp_path, index, is_a):
    folder = copy("instruct_pix2pix", tmp_path)
    change(folder / "model_index.json", **index)
    [sentence] = said(f"edit.model.name={folder}")
    assert is_a in sentence
    assert "Stable Diffusion 1, 2 or XL" in sentence


@pytest.mark.parametrize(
    ("file", "advice"),
    [("pytorch_lora_weights.safetensors", "fuse_lora"), ("dreamy-v3.safetensors", "from_single_file")],
)
def test_what_is_no_checkpoint_of_diffusers_is_refused_with_how_to_make_one(tmp_path, file, advice):
    (tmp_path / file).touch()
    [sentence] = said(f"edit.model.name={tmp_path}")
    assert advice in sentence


def test_a_single_file_is_refused_with_how_to_make_a_folder_of_it(tmp_path):
    file = tmp_path / "dreamy-v3.safetensors"
    file.touch()
    [sentence] = said(f"edit.model.name={file}")
    assert "from_single_file" in sentence


def test_a_controlnet_of_another_family_is_refused(tmp_path):
    folder = copy("controlnet", tmp_path)
    change(folder / "config.json", cross_attention_dim=2048)
    [sentence] = said(*EDITING["controlnet"], f"edit.controlnet.name={folder}")
    assert "cross_attention_dim is 2048, that of the model 64" in sentence
    change(folder / "config.json", _class_name="FluxControlNetModel")
    [sentence] = said(*EDITING["controlnet"], f"edit.controlnet.name={folder}")
    assert "is a FluxControlNetModel" in sentence


def test_a_captioner_of_another_kind_is_refused(tmp_path):
    folder = copy("captioner", tmp_path)
    change(folder / "config.json", model_type="blip-2")
    [sentence] = said(f"caption.model.name={folder}")
    assert "is a 'blip-2' and no BLIP" in sentence


def test_an_unknown_random_clip_is_refused():
    [sentence] = said("judge.model.name=random:ViT-M-15")
    assert "open_clip has no architecture 'ViT-M-15'" in sentence


# -------------------------------------------------------------------- the hub


def test_a_model_that_only_the_hub_could_have_is_refused_with_how_to_download_it(monkeypatch):
    model = [f"edit.model={{name: {HUB}, revision: v2}}"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    [sentence] = said(*model)
    assert "the hub does not answer (no network); run `hf download ORG/MODEL --revision v2`" in sentence
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in said(*model)[0]


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (403, GatedRepoError, "is gated: accept its terms at"),
        (401, RepositoryNotFoundError, "is neither a folder nor public on the hub"),
        (404, RevisionNotFoundError, "has no revision 'v2' on the hub"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(monkeypatch, status, error, says):
    answer = SimpleNamespace(status_code=status, headers={}, request=None)
    monkeypatch.setattr(model_files, "HfApi", hub_of(error("no", response=answer)))
    [sentence] = said(f"edit.model={{name: {HUB}, revision: v2}}")
    assert says in sentence


@pytest.mark.parametrize("name", ["a/b/c", "no spaces/please"])
def test_a_name_that_the_hub_cannot_have_is_refused_without_asking(name):
    [sentence] = said(f"caption.model.name={name}")
    assert "is neither a folder nor the name of a model on the hub" in sentence


def cached(model: str, cache: Path, name: str = HUB) -> Path:
    """A miniature model as the hub's cache holds one."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("c0ffee")
    return shutil.copytree(WEIGHTS / model, place / "snapshots" / "c0ffee")


def test_a_model_in_the_cache_is_enough_without_a_network(tmp_path):
    snapshot = cached("instruct_pix2pix", tmp_path / "hub")
    assert said(f"edit.model.name={HUB}") == []
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    [sentence] = said(f"edit.model.name={HUB}")
    assert "lacks unet/diffusion_pytorch_model.safetensors" in sentence


def test_what_the_cache_lacks_the_hub_may_have(tmp_path, monkeypatch):
    snapshot = cached("instruct_pix2pix", tmp_path / "hub")
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    whole = WEIGHTS / "instruct_pix2pix"
    monkeypatch.setattr(model_files, "HfApi", hub_of(whole))
    monkeypatch.setattr(model_files, "hf_hub_download", lambda name, path, revision: whole / path)
    assert said(f"edit.model.name={HUB}") == []
    assert said(f"edit.model.name={HUB}", "edit.method=img2img")[0].startswith(
        f"edit.model.name: {HUB} is an Instr"
    )


# -------------------------------------------------------------------- what is needed


def test_a_stage_asks_for_the_models_that_it_needs():
    names = ("caption.model.name", "llm.model.name", "edit.model.name", "judge.model.name")
    missing = [f"{name}=./nowhere" for name in names]

    def keys(*stages: str) -> set[str]:
        return {sentence.partition(":")[0] for sentence in said(*missing, stages=stages)}

    assert keys("caption") == {"caption.model.name"}
    assert keys("discover") == {"llm.model.name"}
    assert keys("judge") == {"judge.model.name"}
    assert keys("edit") == {"edit.model.name", "judge.model.name"}
    assert keys("ingest", "train_base", "train", "evaluate") == set()


def test_prompts_of_ones_own_need_neither_captioner_nor_llm():
    missing = ["caption.model.name=./nowhere", "llm.model.name=./nowhere"]
    assert len(said(*missing)) == 2
    assert said(*missing, "discover.prompts=['a {} at sea']") == []


def test_a_description_that_is_no_mapping_is_broken(tmp_path):
    for file in ("config.json", "model_index.json", "open_clip_config.json"):
        (tmp_path / file).write_text("[1]")
    wrong = said(*(f"{stage}.model.name={tmp_path}" for stage in ("caption", "edit", "judge")))
    assert [sentence.partition(":")[0] for sentence in wrong] == [
        "caption.model.name",
        "edit.model.name",
        "judge.model.name",
    ]
    assert all("it holds no mapping" in sentence for sentence in wrong)
