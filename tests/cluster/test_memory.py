import json
import struct

import pytest

from alia_ray.cluster.memory import (
    caption_needs,
    edit_needs,
    judge_needs,
    loading_text,
    streams,
    train_needs,
    uncounted,
)
from alia_ray.cluster.placement import GB, Cluster, Node
from alia_ray.config import Model, Train, load_config
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.sizes import CONTROLNET_SD15, parameters

CPU, GPU = Cluster(cpus=9, gpus=0), Cluster(cpus=9, gpus=1)
REAL = [
    "caption.model.name=random:blip-large",
    "edit.model.name=random:sd15",
    "judge.model.name=random:ViT-L-14",
    "edit.size=512",
    "edit.batch_size=1",
    "caption.batch_size=1",
]


def checkpoint(path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file of nothing but its header."""
    header = {name: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    encoded = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded)


def test_the_demo_needs_little_more_than_its_processes():
    settings = load_config(DEMO)
    for needs in (caption_needs, edit_needs, judge_needs):
        assert needs(settings, CPU).memory < 1.6 * GB


def test_models_of_real_size_need_what_was_measured():
    settings = load_config(DEMO, REAL)
    assert caption_needs(settings, CPU).memory == pytest.approx(2.9 * GB, rel=0.1)
    assert edit_needs(settings, CPU).memory == pytest.approx(8.4 * GB, rel=0.1)


def test_a_batch_counts_in_main_memory_and_is_halved_on_a_card():
    one, many = load_config(DEMO, REAL), load_config(DEMO, [*REAL[:-2], "edit.batch_size=8"])
    assert edit_needs(many, CPU).memory > edit_needs(one, CPU).memory + 7 * GB
    assert edit_needs(many, GPU) == edit_needs(one, GPU)
    assert edit_needs(one, GPU).gpu_memory < edit_needs(one, CPU).memory


def test_a_checkpoint_is_counted_from_its_headers_in_the_dtype_that_is_loaded(tmp_path):
    folder = tmp_path / "sd"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    checkpoint(folder / "unet" / "diffusion_pytorch_model.safetensors", {"w": [1000, 1_000_000]})
    checkpoint(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", {"w": [1000, 1_000_000]})
    checkpoint(folder / "vae" / "diffusion_pytorch_model-00001-of-00002.safetensors", {"w": [100, 1_000_000]})
    checkpoint(folder / "vae" / "diffusion_pytorch_model-00002-of-00002.safetensors", {"w": [100, 1_000_000]})
    checkpoint(folder / "safety_checker" / "model.safetensors", {"w": [900, 1_000_000]})
    checkpoint(folder / "everything.safetensors", {"w": [2000, 1_000_000]})
    settings = load_config(DEMO, [f"edit.model.name={folder}", "edit.size=8"])
    half = load_config(DEMO, [f"edit.model.name={folder}", "edit.size=8", "edit.model.dtype=float16"])
    without = judge_needs(settings, CPU).memory
    assert edit_needs(settings, CPU).memory - without == pytest.approx(4.8 * GB, rel=0.05)
    assert edit_needs(half, CPU).memory - without == pytest.approx(2.4 * GB, rel=0.05)


def test_a_model_that_is_not_on_this_machine_is_said(monkeypatch):
    settings = load_config(DEMO, ["edit.model.name=nobody/nothing-of-the-kind"])
    assert list(uncounted(settings)) == ["edit.model=nobody/nothing-of-the-kind"]


def test_a_model_in_the_hubs_cache_is_counted_though_not_all_of_its_files_were_fetched(tmp_path, monkeypatch):
    place = tmp_path / "models--me--sd"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    checkpoint(place / "snapshots" / "abc" / "unet" / "diffusion_pytorch_model.safetensors", {"w": [10, 10]})
    (place / "snapshots" / "abc" / "model_index.json").write_text("{}")
    (place / "trees").mkdir()
    listed = {"README.md": {"size": 1, "blob_id": "0" * 40}}  # what the hub has, as its library notes it
    (place / "trees" / "abc.json").write_text(json.dumps({"format_version": 1, "files": listed}))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert parameters(Model(name="me/sd")) == 100
    assert parameters(Model(name="me/sd", revision="v2")) is None


def test_a_trainer_holds_its_share_of_the_images():
    train = Train(workers=2, batch_size=2)
    more = train_needs(train, 100_000, CPU).memory - train_needs(train, 0, CPU).memory
    assert more == 50_000 * 3 * 224 * 224


def test_a_trainer_that_streams_holds_none_of_its_share():
    train = Train(loading="stream")
    assert train_needs(train, 10**7, CPU) == train_needs(train, 0, CPU)


@pytest.mark.parametrize(
    ("train", "nodes", "is_streamed"),
    [
        (Train(), [Node(8, memory=31 * GB)], False),  # 100,000 images take 15 GB, and a trainer as much
        (Train(), [Node(8, memory=25 * GB)], True),
        (Train(workers=2), [Node(8, memory=30 * GB)], True),  # twice what a trainer takes beside its images
        (Train(workers=2), [Node(8, memory=25 * GB)] * 2, False),
        (Train(), [Node(8)], False),  # whose memory is not known
        (Train(loading="stream"), [Node(8)], True),
        (Train(loading="memory"), [Node(8, memory=25 * GB)], False),  # and is refused
    ],
)
def test_images_are_streamed_where_trainers_with_their_shares_do_not_fit(train, nodes, is_streamed):
    cluster = Cluster.of(tuple(nodes))
    assert streams(train, 100_000, cluster) == is_streamed
    assert ("streamed" in loading_text(train, 100_000, cluster)) == is_streamed


@pytest.mark.slow
def test_the_sizes_of_random_models_are_those_of_their_architectures():
    import open_clip
    import torch

    from alia_ray.models.captioner import random_blip_large
    from alia_ray.models.random_diffusion import random_sd15

    def count(*modules: torch.nn.Module) -> int:
        return sum(weight.numel() for module in modules for weight in module.parameters())

    with torch.device("meta"):
        blip = random_blip_large(torch.float32)
        pipeline = random_sd15("controlnet", torch.float32)
    clip = open_clip.create_model("ViT-L-14", pretrained=None, device="meta")
    assert count(blip) == parameters(Model(name="random:blip-large"))
    assert count(pipeline.unet, pipeline.vae, pipeline.text_encoder) == parameters(Model(name="random:sd15"))
    assert count(pipeline.controlnet) == CONTROLNET_SD15
    assert count(clip) == parameters(Model(name="random:ViT-L-14"))
