import shutil

import pyarrow as pa
import pytest

from alia_ray.checks import windows
from alia_ray.checks.inputs import check_inputs
from alia_ray.checks.texts import doubtful_things, long_domains, wrong_things
from alia_ray.cluster.placement import Cluster
from alia_ray.config import ConfigError, Model, load_config
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.naming import WEIGHTS
from alia_ray.pipeline import run_discovery
from alia_ray.sources import list_images
from alia_ray.stages.caption import captions_table
from alia_ray.stages.ingest import images_table
from alia_ray.state import State
from alia_ray.store.tables import CAPTIONS, DOMAINS, IMAGES

LONG = "a photo of a {} bird in the water near a big tree and a house with a lake"
HUB = "edit.model.name=nobody/model-that-is-not-here"
ENDLESS = "a photo of a {} " + "on a branch " * 30


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            f"discover.prompts=['{LONG}']",
            r"discover\.prompts: .*'mirrol' takes \d+ tokens, and edit\.model reads 24",
        ),
        (f"discover.prefix='{LONG}'", r"discover\.prefix: .* edit\.model reads 24"),
        ("judge.positives=['" + LONG.format("red") + "']", r"judge\.positives: .* judge\.model reads 16"),
        ("judge.negatives=['" + LONG.format("red") + "']", r"judge\.negatives: .* judge\.model reads 16"),
        ("caption.prefix='" + LONG.format("red") + "'", r"caption\.prefix: .* reads 12"),
    ],
)
def test_a_text_that_would_lose_its_end_is_refused(override, says):
    with pytest.raises(ConfigError, match=says):
        check_inputs(load_config(DEMO, [override]))


def test_a_name_can_make_a_prompt_too_long():
    prompts = "discover.prompts=['a photo of a {} bird in the water']"
    check_inputs(load_config(DEMO, [prompts]))
    name = "source.class_names={tarrel: bird that lives in the water near a big tree and a house}"
    with pytest.raises(
        ConfigError, match=r"'a photo of a \{\} bird in the water' with the class 'bird that lives"
    ):
        check_inputs(load_config(DEMO, [prompts, name]))


def test_prompts_of_the_baselines_count_where_an_arm_needs_them():
    prompts = f"baselines.user_prompts=['{LONG}']"
    own = "baselines.text_to_image.model.name=miniature:img2img"
    check_inputs(load_config(DEMO, [prompts]))
    for arm, model in (("alia_user_prompts", "edit.model"), ("text_to_image", r"text_to_image\.model")):
        with pytest.raises(ConfigError, match=rf"baselines\.user_prompts: .*{model} reads 24"):
            check_inputs(load_config(DEMO, [prompts, own, f"train.arms=[original, {arm}]"]))


def test_a_model_that_is_not_here_is_judged_by_clips_vocabulary_and_refuses_nothing():
    settings = load_config(DEMO, [HUB, f"discover.prompts=['{ENDLESS}', 'a {{}} at sea']"])
    listing = list_images(settings.source)
    assert not list(wrong_things(settings, listing))
    [said] = doubtful_things(settings, listing)
    assert "probably takes" in said
    assert "edit.model reads 77" in said


def test_the_demo_and_random_models_say_nothing():
    for overrides in ([], ["edit.model.name=random:sd15", "judge.model.name=random:ViT-L-14"]):
        settings = load_config(DEMO, overrides)
        check_inputs(settings)
        assert not list(doubtful_things(settings, list_images(settings.source)))


def test_discovered_prompts_that_lose_their_end_are_said():
    settings = load_config(DEMO)
    [said] = long_domains(settings, ["a photo of a {} bird in the snow", LONG], ["mirrol"])
    assert said.startswith("discover: 'a photo of a {} bird in the water near")
    given = load_config(DEMO, ["discover.prompts=['a {} at sea']"])
    assert not list(long_domains(given, [LONG], ["mirrol"]))


def test_a_run_says_which_of_its_discovered_prompts_lose_their_end(tmp_path, capsys):
    settings = load_config(DEMO, [f"run.folder={tmp_path}/run"])
    image = {"image_id": "i", "label": "mirrol", "group": "sea", "split": "train", "origin": "1.png"}
    images_table(settings).commit(pa.Table.from_pylist([image], schema=IMAGES))
    heard = [{"image_id": "i", "caption": "a bird in the water"}]
    captions_table(settings).commit(pa.Table.from_pylist(heard, schema=CAPTIONS))
    state = State(settings)
    found = domain_rows([LONG], ["a bird in the water"], settings.discover.prefix, 1)
    state.domains_table().commit(pa.Table.from_pylist(found, schema=DOMAINS))
    run_discovery(state, Cluster(cpus=1, gpus=0))
    assert "with the class 'mirrol' takes" in capsys.readouterr().err


def test_a_model_is_counted_as_the_pipelines_count_it(tmp_path):
    from transformers import CLIPTokenizer

    folder = WEIGHTS / "img2img" / "tokenizer"
    tokens = len(CLIPTokenizer.from_pretrained(folder)(LONG).input_ids)
    [own] = windows.of_editor(Model(name="miniature:img2img"))
    assert own.counter()(LONG) == tokens
    assert (own.tokens, own.exact) == (24, True)
    for part in ("tokenizer", "tokenizer_2"):  # as SDXL has them
        shutil.copytree(folder, tmp_path / part)
    assert [window.counter()(LONG) for window in windows.of_editor(Model(name=str(tmp_path)))] == [tokens] * 2


def test_a_tokenizer_in_parts_is_read_too(tmp_path):
    """As the hub's Stable Diffusion has it: vocab.json and merges.txt."""
    import json

    whole = json.loads((WEIGHTS / "img2img" / "tokenizer" / "tokenizer.json").read_text())["model"]
    parts = tmp_path / "tokenizer"
    parts.mkdir()
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in whole["merges"]]
    (parts / "vocab.json").write_text(json.dumps(whole["vocab"]))
    (parts / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    config = WEIGHTS / "img2img" / "tokenizer" / "tokenizer_config.json"
    (parts / "tokenizer_config.json").write_text(config.read_text())
    [window] = windows.of_editor(Model(name=str(tmp_path)))
    [own] = windows.of_editor(Model(name="miniature:img2img"))
    assert window.counter()(LONG) == own.counter()(LONG)


def test_a_model_in_the_hubs_cache_is_asked_itself(tmp_path, monkeypatch):
    snapshot = tmp_path / "models--me--small" / "snapshots" / "abc"
    shutil.copytree(WEIGHTS / "img2img" / "tokenizer", snapshot / "tokenizer")
    refs = tmp_path / "models--me--small" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    [window] = windows.of_editor(Model(name="me/small"))
    assert (window.tokens, window.exact) == (24, True)
    [window] = windows.of_editor(Model(name="me/large"))
    assert (window.tokens, window.exact) == (77, False)


def test_a_model_whose_description_is_cut_is_refused(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text('{"model_max')
    with pytest.raises(ConfigError, match=r"tokenizer_config\.json is no JSON"):
        check_inputs(load_config(DEMO, [f"edit.model.name={tmp_path}"]))
