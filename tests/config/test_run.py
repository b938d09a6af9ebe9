import re
from pathlib import Path

import pytest
import yaml

from alia_ray.config import ColorJitter, Config, ConfigError, Train, fingerprint, load_config, parse_config, plain

RECIPES = Path(__file__).parent.parent.parent / "alia_ray" / "recipes"
MINIMAL = {"run": {"folder": "runs/x"}, "source": {"kind": "miniature"}}


def write(tmp_path, tree) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tree))
    return str(path)


def test_the_defaults_are_the_papers(tmp_path):
    settings = load_config(write(tmp_path, MINIMAL))
    assert settings.edit.method == "img2img"
    assert (settings.edit.strength, settings.edit.guidance_scale, settings.edit.steps) == (0.6, 7.5, 50)
    assert (settings.train.architecture, settings.train.epochs, settings.train.batch_size) == (
        "resnet50",
        100,
        128,
    )


def test_an_override_is_read_as_yaml_and_may_make_a_section(tmp_path):
    overrides = ["edit.steps=7", "discover.prompts=['a {} at sea', 'a {} on land']", "run.max_error_rate=0.5"]
    settings = load_config(write(tmp_path, MINIMAL), overrides)
    assert settings.edit.steps == 7
    assert settings.discover.prompts == ["a {} at sea", "a {} on land"]
    assert settings.run.max_error_rate == 0.5


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("edit.stpes=3", "edit.stpes"),
        ("source.bias=3", "source.bias"),
        ("caption.workers=0", "caption.workers"),
        ("caption.batch_size=many", "caption.batch_size"),
        ("select.edits_per_image=0", "select.edits_per_image"),
        ("edit.gpus_per_worker=1.5", "edit.gpus_per_worker"),
        ("edit.edits_per_image=some", "edit.edits_per_image"),
        ("edit.drop_prompt_below=2", "edit.drop_prompt_below"),
        ("select.num_extra=-1", "select.num_extra"),
        ("discover.captions=0", "discover.captions"),
        ("train={workers: 3, batch_size: 16}", "train"),
        ("run={folder: x, accelerator: cpu, gpus: 2}", "run"),
        ("discover.prompts=[no place]", "discover.prompts"),
        ("discover.prefix=a photo", "discover.prefix"),
        ("source.kind=zip", "source"),
        ("source={kind: cub, path: x, protocol: loose}", "source.protocol"),
        ("source={kind: huggingface, path: x}", "source.name"),
        ("train.arms=[alia]", "train.arms"),
        ("train.arms=[original, alya]", "train.arms"),
        ("train.trackers=[paper]", "train.trackers"),
        ("train.crop={square: 448, top: 100, height: 400, width: 448}", "train.crop"),
        ("experiment={seeds: []}", "experiment.seeds"),
        ("experiment={seeds: [0, 1, 0]}", "seeds: 0 is there twice"),
        ("experiment={arms: [alia, original, alia]}", "arms: alia is there twice"),
        ("experiment={amounts: [1, 0.5, 1.0]}", "amounts: 1 is there twice"),
        ("experiment={amount_arms: [alia, alia]}", "amount_arms: alia is there twice"),
        ("judge={positives: [a photo], negatives: [a painting, A  photo]}", "judge: 'a photo' is among"),
        ("select={num_extra: all, class_balanced: true}", "select: class_balanced shares out a number"),
        ("select={class_balanced: true, num_extra: extra}", "select: class_balanced shares out a number"),
        ("experiment={amounts: [0]}", "experiment.amounts"),
        ("experiment={amount_arms: [cutmix]}", "experiment"),
        ("baselines.user_prompts=[a photo]", "baselines.user_prompts"),
        ("edit.strength=0.001", "edit.strength"),
        (
            "edit={method: instruct_pix2pix, guidance_scale: 1, image_guidance_scale: 1.5}",
            "edit.image_guidance_scale guides only where edit.guidance_scale",
        ),
        ("run=3", "run"),
        ("run.folder.x=3", "run.folder.x"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(tmp_path, override, key):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, MINIMAL), [override])
    message = str(caught.value)
    assert key in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("source={kind: imagefoldr, path: x}", "source.kind: must be 'imagefolder', 'parquet', "),
        ("source={path: x}", "source.kind: is missing; set it"),
        ("train.arms=original", "train.arms: must be a list, such as [original]"),
        ("judge=clip", "judge: must be a section of keys and values"),
    ],
)
def test_a_value_of_another_kind_is_told_what_it_must_be(tmp_path, override, said):
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, MINIMAL), [override])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "needs_more",
    [
        "select.edits_per_image=3",
        "select.edits_per_image=all",
        "train.arms=[original, alia, alia_unfiltered]",
        "judge={filters: [mislabelled], confidence_rule: within_domain}",
    ],
)
def test_looking_for_too_few_survivors_is_refused(tmp_path, needs_more):
    with pytest.raises(ConfigError, match=r"edit\.edits_per_image: 2 edits do not do"):
        load_config(write(tmp_path, MINIMAL), ["edit.edits_per_image=2", needs_more])
    assert load_config(write(tmp_path, MINIMAL), ["edit.edits_per_image=all", needs_more])


def test_only_the_miniature_can_be_drawn_anew(tmp_path):
    source = "source={kind: imagefolder, path: photos}"
    with pytest.raises(ConfigError, match=r"experiment\.fresh_draws"):
        load_config(write(tmp_path, MINIMAL), [source, "experiment={fresh_draws: true}"])


def test_a_missing_file_and_broken_yaml_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("run: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "broken.yaml")


def test_a_folder_in_place_of_a_configuration_is_told_which_file_is_meant(tmp_path):
    with pytest.raises(ConfigError, match=rf"is a folder .*; of images `alia-ray init {tmp_path}` writes one"):
        load_config(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ConfigError, match=r"is a folder .*; give .*/config\.yaml$"):
        load_config(tmp_path)


def test_a_section_that_is_there_twice_is_refused_with_its_line(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + "edit: {steps: 3}\nedit: {strength: 0.5}\n")
    with pytest.raises(ConfigError, match=r"line \d+, column 1: 'edit' is there twice; leave one out$"):
        load_config(path)


def test_a_key_may_override_one_that_is_merged_in(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text(
        "run: {folder: x}\nsource: {kind: miniature}\ncaption: {model: &blip {name: a, revision: r}}\n"
        "llm: {model: {<<: *blip, name: b}}\n"
    )
    assert load_config(path).llm.model.model_dump(include={"name", "revision"}) == {"name": "b", "revision": "r"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_configuration_of_another_encoding_is_refused(tmp_path, encoding):
    path = tmp_path / "config.yaml"
    path.write_text("# Café\nrun: {folder: x}\n", encoding=encoding)
    with pytest.raises(ConfigError, match="is not a text in UTF-8"):
        load_config(path)


def test_a_missing_section_is_named():
    with pytest.raises(ConfigError, match="source: is missing"):
        parse_config({"run": {"folder": "x"}})


def test_the_configuration_survives_a_round_trip():
    settings = parse_config(MINIMAL)
    assert Config.model_validate(settings.model_dump(mode="json")) == settings


def test_a_fingerprint_depends_on_content_alone():
    one, other = parse_config(MINIMAL), parse_config(MINIMAL)
    assert fingerprint(one.edit) == fingerprint(other.edit)
    assert fingerprint(one.edit) != fingerprint(one.caption)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_configuration(recipe):
    settings = load_config(recipe)
    assert settings.run.folder.given.startswith("runs/")


def test_the_recipes_of_the_paper_are_its_settings():
    cub, wild, water = (load_config(RECIPES / f"{name}.yaml") for name in ("cub", "iwildcam", "waterbirds"))
    assert [settings.source.kind for settings in (cub, wild, water)] == ["cub", "iwildcam", "waterbirds"]
    assert [settings.edit.method for settings in (cub, wild, water)] == ["img2img", "img2img", "instruct_pix2pix"]
    assert [settings.edit.strength for settings in (cub, wild)] == [0.6, 0.5]
    assert (water.edit.guidance_scale, water.edit.image_guidance_scale) == (5, 1.2)
    assert [settings.train.learning_rate for settings in (cub, wild, water)] == [0.01, 0.001, 0.001]
    assert [settings.train.select_by for settings in (cub, wild, water)] == ["accuracy", "macro_f1", "accuracy"]
    assert [(settings.train.resize, settings.train.crop) for settings in (cub, water)] == [("squash", None)] * 2
    assert (wild.train.crop.square, wild.train.crop.top, wild.train.crop.height) == (448, 10, 400)
    for settings in (cub, wild, water):
        assert settings.discover.prompts is None
        assert not settings.train.flip
        assert settings.train.color_jitter == ColorJitter(brightness=0.5, contrast=0, saturation=0, hue=0.3)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_compares_arms_at_equal_steps(recipe):
    assert load_config(recipe).train.equal_steps


def test_keys_that_the_first_release_lacked_name_nothing_anew_until_they_are_set():
    train = Train()
    for key, value in [
        ("flip", False),
        ("resize", "squash"),
        ("select_by", "accuracy"),
        ("color_jitter", ColorJitter(hue=0.3)),
    ]:
        assert key not in plain(train)
        assert fingerprint(train.model_copy(update={key: value})) != fingerprint(train)
        assert fingerprint(Train(**{key: getattr(train, key)})) == fingerprint(train)


@pytest.mark.parametrize("recipe", ["cub", "iwildcam", "waterbirds"])
def test_the_published_prompts_of_a_recipe_can_be_uncommented(recipe, tmp_path):
    text = re.sub(r"^  # ((prompts:)|(  - .*))$", r"  \1", (RECIPES / f"{recipe}.yaml").read_text(), flags=re.M)
    (tmp_path / "run.yaml").write_text(text)
    assert len(load_config(tmp_path / "run.yaml").discover.prompts) == {"iwildcam": 4}.get(recipe, 7)
