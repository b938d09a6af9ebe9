"""A mistake is answered by what to write instead."""

import pytest

from alia_ray.config import ConfigError, load_config

CSV = "run: {folder: x}\nsource: {kind: csv, path: a.csv, root: pictures}\n"
MINIATURE = "run: {folder: x}\nsource: {kind: miniature}\n"


def said_of(tmp_path, override: str, text: str = MINIATURE) -> str:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "run.yaml", [override])
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("edit.stpes=3", "did you mean edit.steps?"),
        ("edit.guidance-scale=3", "did you mean edit.guidance_scale?"),
        ("edti.steps=4", "did you mean edit?"),
        ("strength=0.5", "did you mean edit.strength?"),
        ("train.strength=0.5", "did you mean edit.strength?"),
        ("source.bais=0.7", "did you mean source.bias?"),
        ("source.image_column=x", "is a key of kind parquet, huggingface, not of this one"),
        ("frobnicate=1", "is not a known section; there are run, source, caption"),
        ("edit.frobnicate=1", "`alia-ray config edit` lists what there is"),
        ("filter=[]", "is not a known key here; did you mean judge.filters?"),
        ("judge.rule=code", "did you mean judge.confidence_rule?"),
        ("source.kind=folder", "'huggingface' or 'webdataset', not 'folder'; did you mean imagefolder?"),
        ("source.kind=", "'huggingface' or 'webdataset', not null"),
        ("source={kind: imagefoldr, path: x}", "did you mean imagefolder?"),
        ("train.arms=[original, aila]", "did you mean alia?"),
        ("judge.filters=[semantik]", "not 'semantik'; did you mean semantic?"),
        ("edit.scheduler=dmp++", "did you mean dpm++?"),
    ],
)
def test_what_is_nearly_right_is_told_what_was_meant(tmp_path, override, meant):
    assert meant in said_of(tmp_path, override)


@pytest.mark.parametrize(
    ("override", "form"),
    [
        ("caption.model=foo", "such as {name: foo}"),
        ("caption.model=miniature:captioner", "such as {name: miniature:captioner}"),
        ("train.arms=alia", "such as [original, alia]"),
        ("train.arms=original,alia", "such as [original, alia]"),
        ("train.crop=3", "such as {height: …, width: …}"),
        ("source=photos", "such as {kind: imagefolder, path: photos}"),
        ("edit.steps=1e3", "such as 1000, not '1e3'"),
        ("edit.strength=0.6,", "such as 0.6, not '0.6,'"),
        ("edit.compile=maybe", "must be true or false"),
        ("discover.prefix=7", "put it in quotes"),
        ("edit.preset=none", "edit.preset: for none write null"),
        ("judge.safety_checker=None", "judge.safety_checker: for none write null"),
        ("caption.prefix=none", "caption.prefix: for none write null"),
        ("edit.canny_thresholds=5", "such as [100, 200]"),
        ("discover.captions=ten", "must be a whole number, such as 50, or must be 'all', not 'ten'"),
        ("edit.steps", "as in --set edit.strength=0.5"),
        ("llm=", "such as {model: {name: Qwen/Qwen2.5-7B-Instruct}}"),
        ("edit.strength=50%", "such as 0.5, not '50%'"),
        ("judge.positives=[]", "must not be empty; leave it out for the default"),
        ("judge.positives=", "must not be empty; leave it out for the default"),
        ("edit.image_guidance_scale=50%", "such as 1.2, not '50%'"),
        ("discover.max_domains=1e3", "such as 9, not '1e3'"),
        ("run.folder=", "must not be empty; give a path"),
        ("edit.model.name=", "must not be empty; give a text"),
        ('source={kind: imagefolder, path: "C:\\data"}', "use single quotes, or / in paths"),
    ],
)
def test_a_value_of_another_form_is_shown_the_right_one(tmp_path, override, form):
    said = said_of(tmp_path, override)
    assert form in said
    assert "\n" not in said


def test_prompts_that_yaml_takes_for_mappings_are_shown_in_quotes_for_the_shell(tmp_path):
    said = said_of(tmp_path, "discover.prompts=[a photo of a {} bird, the {}'s nest]")
    shown = """'discover.prompts=["a photo of a {} bird", "the {}'\\''s nest"]'"""
    assert said.endswith(f"quote it: --set {shown}")
    given = shown[1:-1].replace("'\\''", "'")  # as a shell reads it
    assert len(load_config(tmp_path / "run.yaml", [given]).discover.prompts) == 2
    assert said_of(tmp_path, "discover.prompts=[a photo of a {} bird]").count("quote") == 1


def test_another_kind_of_source_alone_is_shown_the_whole_section(tmp_path):
    said = said_of(tmp_path, "source.kind=imagefolder", CSV)
    assert "--set 'source={kind: imagefolder, path: …}'" in said
    assert "not a known key" not in said


def test_a_kind_that_reads_the_same_keys_may_be_set_alone(tmp_path):
    (tmp_path / "run.yaml").write_text(CSV.replace("csv,", "imagefolder,").replace(", root: pictures", ""))
    assert load_config(tmp_path / "run.yaml", ["source.kind=parquet"]).source.kind == "parquet"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("", "is empty; `alia-ray init FOLDER` writes a configuration that runs"),
        ("run:\n  folder: x\n  seed:0\nsource: {kind: miniature}\n", "line 3, column 3: could not find"),
        ("run:\n  folder: x\n  seed:0\nsource: {kind: miniature}\n", "a colon and a space, as in seed: 0"),
        (
            "run:\n  seed:0\n  # x\n\n  folder: x\n",
            "line 2: between a key and its value stand a colon and a space",
        ),
        ("seed:0\nrun: {folder: x}\n", "line 1: between a key and its value stand a colon and a space"),
        (
            "run:\n  folder:x\nsource: {kind: miniature}\n",
            "run: must be a section of keys and values, such as {seed: 0}, with a space",
        ),
        ("run:\n  folder: a b: c\n", "line 2, column 14: mapping values are not allowed here"),
        (MINIATURE + "discover: {prompts: [a photo of a {} bird]}\n", 'as in ["a photo of a {} bird"]'),
        (MINIATURE + 'discover: {prompts: ["{} bird", {} bird]}\n', 'as in ["a photo of a {} bird"]'),
        (MINIATURE + "discover:\n  prompts:\n  - {} bird\n", 'as in ["a photo of a {} bird"]'),
        (
            "run: {folder: x}\n",
            "source: is missing; say where your images are, as {kind: imagefolder, path: ",
        ),
    ],
)
def test_a_file_that_is_broken_or_lacks_something_is_shown_the_right_form(tmp_path, text, form):
    assert form in said_of(tmp_path, "edit.steps=3", text)


def test_a_section_that_is_a_list_is_told_to_be_keys_and_values(tmp_path):
    said = said_of(tmp_path, "run.seed=3", "run: []\n")
    assert said == "--set run.seed: run must be a section of keys and values"


def test_a_tab_is_told_to_be_spaces(tmp_path):
    assert "indent with spaces" in said_of(tmp_path, "edit.steps=3", MINIATURE + "edit:\n\tsteps: 3\n")


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.learning_rate=1e-3", "train", "learning_rate", 0.001),
        ("edit.compile=yes", "edit", "compile", True),
        ("caption.prefix=null", "caption", "prefix", None),
        ("train.weights=none", "train", "weights", "none"),
    ],
)
def test_what_can_mean_one_thing_only_just_works(tmp_path, override, section, key, value):
    (tmp_path / "run.yaml").write_text(MINIATURE)
    assert getattr(getattr(load_config(tmp_path / "run.yaml", [override]), section), key) == value


def test_a_password_in_a_value_is_not_repeated(tmp_path):
    assert "canary" not in said_of(tmp_path, "llm.model=https://me:canary@host/x")
