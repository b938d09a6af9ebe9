"""`alia-ray init`: a configuration that runs, whatever the images and their folders are called."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alia_ray import recipes
from alia_ray.checks import names, splits
from alia_ray.checks.inputs import STAGES, look_at_inputs
from alia_ray.cli import app
from alia_ray.config import ConfigError, load_config
from alia_ray.init.found import names_for
from alia_ray.init.looking import look
from alia_ray.sources import list_images

HOSTILE = [
    "it's", 'a "b"', "key: value", "- item", "# none", "{}", "a {} b", "{a: b}", "[x, y]", "* &x", "null", "yes",
    "007", "1e5", "%d", "@home", "`x`", "ünïcode 図🐦", "a\tb", "!!python name:x", "<<", "=", "|", ">-", "?", "~",
    "two\nlines", "\x1b[31mred", "\u2028line", "--force", "x\\y", "trailing ", "'", '"', "{{ x }}", "\ufeffmark",
]  # fmt: skip


def pictures(folder: Path, *of: str, count: int = 6) -> Path:
    """So many empty files in each folder: nothing is read."""
    for each in of:
        (folder / each).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / each / f"{number}.jpg").touch()
    return folder


def init(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("miniature", [False, True])
def test_what_is_written_is_read_again_and_nothing_stands_in_its_way(miniature, here):
    pictures(here / "photos", "cat", "dog")
    result = init("photos", *(["--miniature"] if miniature else []))
    assert result.exit_code == 0
    settings = load_config("mine.yaml")
    assert (settings.run.folder.given, settings.source.path.given) == ("runs/mine", "photos")
    assert settings.edit.model.name.startswith("miniature:") == miniature
    listing = list_images(settings.source)
    assert not [*splits.wrong_things(settings, listing, STAGES), *names.wrong_things(settings, listing)]
    assert (
        "photos: a folder for each class\n12 images: 6 train, 2 val, 4 test; val and test held out"
        in result.stdout
    )
    assert "2 classes, of 6 images each: 'cat', 'dog'" in result.stdout
    assert "alia-ray plan mine.yaml" in result.stdout
    assert "alia-ray run mine.yaml" in Path("mine.yaml").read_text()


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (["cat_1.jpg", "cat_2.jpg", "dog_1.jpg", "dog_2.jpg"], "a line for each, as 'cat_1.jpg,cat'; most"),
        (["IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg"], "a line for each, as 'IMG_1.jpg,CLASS'\n"),
        (["a,b.jpg", "c.jpg"], "as '\"a,b.jpg\",CLASS'\n"),
        (
            ["train/cat.1.jpg", "train/cat.2.jpg", "train/dog.1.jpg", "train/dog.2.jpg", "test/1.jpg"],
            "header 'path,label,split' and a line for each, as 'train/cat.1.jpg,cat,train'; most names",
        ),
        (["val2017/1.jpg", "train2017/2.jpg", "annotations/x.json"],
         "as 'train2017/2.jpg,CLASS,train'; labels in annotations/"),
        (["train/images/1.jpg", "valid/images/2.jpg", "train/labels/1.txt"],
         "'train/images/1.jpg,CLASS,train'; labels in train/"),
    ],
)  # fmt: skip
def test_pictures_without_labels_are_refused_with_a_form_of_their_own_names(files, line, here):
    for file in files:
        (here / "photos" / file).parent.mkdir(parents=True, exist_ok=True)
        (here / "photos" / file).touch()
    result = init("photos")
    assert result.exit_code == 2
    assert "or write a table photos/labels.csv with the header 'path,label" in result.stderr
    assert line in result.stderr


def test_splits_within_classes_are_refused_with_the_order_that_is_read(here):
    pictures(here / "photos", "cat/train", "cat/test", "dog/train", "dog/test")
    result = init("photos")
    assert result.exit_code == 2
    assert "photos: each class holds its splits, as cat/test; bring them into the order" in result.stderr
    assert "SPLIT/CLASS/*.jpg, as test/cat" in result.stderr
    assert not Path("mine.yaml").exists()


def test_a_class_that_is_called_as_a_split_is_no_mistake(here):
    pictures(here / "photos", "train/test", "train/cat", "train/dog", "test/test", "test/cat", "test/dog")
    assert init("photos").exit_code == 0


@pytest.mark.parametrize(("inside", "folder"), [(".", "../runs/mine"), ("cat/..", "../runs/mine")])
def test_a_run_never_lies_among_the_images(inside, folder, here, monkeypatch):
    monkeypatch.chdir(pictures(here / "photos", "cat", "dog"))
    assert init(inside, "--miniature").exit_code == 0
    settings = load_config("mine.yaml")
    assert settings.run.folder.given == folder
    assert not look_at_inputs(settings, ["ingest"])[1]
    [said] = look_at_inputs(load_config("mine.yaml", ["run.folder=runs/mine"]), ["ingest"])[1]
    assert said.startswith("run.folder: runs/mine lies in source.path, ")


def test_a_folder_further_down_is_named(here):
    pictures(here / "photos", "a/b/cat", "a/b/dog")
    assert "photos/a/b: a folder for each class" in init("photos").stdout


def test_the_miniature_needs_no_model_of_the_hub(here):
    pictures(here / "photos", "cat", "dog")
    init("photos", "--miniature")
    settings = load_config("mine.yaml")
    models = (settings.caption.model, settings.llm.model, settings.edit.model, settings.judge.model)
    assert all(model.name.startswith("miniature:") for model in models)
    assert settings.train.weights.startswith("miniature:")


def test_hostile_labels_give_a_configuration_of_the_same_labels(here):
    pictures(here / "photos", *(f"train/{label}" for label in HOSTILE), *(f"test/{label}" for label in HOSTILE))
    result = init("photos", "--miniature")
    assert result.exit_code == 0, result.stderr
    settings = load_config("mine.yaml")
    labels = set(list_images(settings.source).column("label").to_pylist())
    assert len(labels) == len(HOSTILE) - 1  # "~" counts as hidden
    assert settings.source.class_names.keys() <= labels
    assert {"{}", "a {} b"} <= settings.source.class_names.keys()
    assert " labels cannot stand in a prompt as written" in result.stdout


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_folders_and_files_lead_where_they_are(name, here):
    pictures(here / name, "cat", "dog")
    out = Path(f"{name}.yaml")
    looked = look(name, out, miniature=False)
    out.write_text(looked.text)
    settings = load_config(out)
    assert Path(settings.source.path) == here / name
    assert settings.run.folder.given == f"runs/{name}"


def test_a_folder_whose_name_is_not_utf_8_is_refused(here):
    with pytest.raises(ConfigError, match="is not UTF-8; rename it"):
        look("caf\udce9", Path("mine.yaml"), miniature=False)


def test_labels_that_prompts_would_call_the_same_get_names_of_their_own():
    given = names_for(["a_b", "a b", "a.b", "{}", "{ {} }", "___", "cat"])
    assert given == {"a.b": "a b 2", "a_b": "a b 3", "___": "class", "{ {} }": "class 2", "{}": "class 3"}


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ([], "no image was found in"),
        (
            ["cat"],
            "photos: its 6 pictures lie in one folder, 'cat', and a classifier needs two classes; move each",
        ),
        (["."], "photos: its 6 pictures lie in no class folders; move each to its class"),
        (["train", "test"], "photos: its 12 pictures lie in no class folders; move each to its class"),
        (
            ["train/cat", "train/dog", "test/cat", "test/eel"],
            "test has images of what is no class in train: 'eel'",
        ),
        (["train/cat", "train/dog", "dev/cat"], "no image with a label is in the split 'test'"),
        (["train/cat", "train/dog", "more/cat"], "lies in no SPLIT/CLASS folder"),
        (["training_set/cat", "test_set/cat"], "look like splits and would be classes"),
    ],
)
def test_a_mistake_of_layout_is_one_sentence_and_nothing_is_written(folders, said, here):
    (here / "photos").mkdir()
    result = init(pictures(here / "photos", *folders))
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("error:") == 1
    assert not Path("mine.yaml").exists()


def test_a_file_instead_of_a_folder_is_said(here):
    pictures(here / "photos", "cat")
    result = init("photos/cat/0.jpg")
    assert (result.exit_code, "is a file; name the folder" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["Cat", "cat"], "the labels 'Cat', 'cat' differ in case or punctuation only"),
        (["train/cat", "train/dog", "test/cat"], "test has no image of 'dog'"),
        (["n01440764", "zebra"], "names that may mean nothing to a model, such as 'n01440764'"),
    ],
)
def test_what_may_be_a_mistake_is_said_beside_what_was_found(folders, said, here):
    pictures(here / "photos", *folders)
    result = init("photos")
    assert result.exit_code == 0
    assert said in result.stdout


def test_many_images_are_offered_a_trial_that_runs(here):
    pictures(here / "photos", *(f"c{number} ape" for number in range(101)), count=10)
    result = init("photos")
    [limit] = re.findall(r"--set source\.limit=(\d+)", result.stdout)
    settings = load_config("mine.yaml", [f"source.limit={limit}"])
    assert list_images(settings.source).num_rows == int(limit) == 303


def test_what_lies_beside_the_pictures_is_said(here):
    pictures(here / "photos", "cat", "dog", "eel")
    (here / "photos" / "notes.txt").touch()
    for path in (here / "photos" / "eel").iterdir():
        path.unlink()
    said = init("photos").stdout
    assert "passed over: 1 that are no pictures (.txt 1; such as" in said
    assert "no picture lies in 'eel'" in said
    assert "# no picture lies in 'eel'" in Path("mine.yaml").read_text()


def test_a_file_that_is_there_is_replaced_only_by_force(here):
    pictures(here / "photos", "cat", "dog")
    Path("mine.yaml").write_text("mine")
    for arguments in (["photos"], ["--recipe", "cub", "--out", "mine.yaml"]):
        result = init(*arguments)
        assert (result.exit_code, "mine.yaml is there already" in result.stderr) == (2, True)
        assert Path("mine.yaml").read_text() == "mine"
    assert init("photos", "--force").exit_code == 0
    assert load_config("mine.yaml").source.kind == "imagefolder"


def test_a_folder_that_is_not_there_is_said_before_a_file_that_is(here):
    pictures(here / "photos", "cat", "dog")
    Path("mine.yaml").touch()
    missing, taken = init("phots").stderr.splitlines()
    assert missing == "error: there is no folder phots; did you mean photos?"
    assert taken.startswith("error: mine.yaml is there already")


@pytest.mark.parametrize("out", ["photos", "nowhere/mine.yaml"])
def test_a_file_that_cannot_be_is_refused_before_anything_is_looked_at(out, here):
    pictures(here / "photos", "cat")
    result = init("photos", "--out", out, "--force")
    assert (result.exit_code, result.stderr.startswith(f"error: --out: {out} is no file")) == (2, True)


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_written_as_it_ships(name, here):
    assert init("--recipe", name).exit_code == 0
    assert load_config(f"{name}.yaml") == load_config(Path(recipes.__path__[0]) / f"{name}.yaml")


def test_a_recipe_that_does_not_exist_is_told_from_those_that_do(here):
    result = init("--recipe", "waterbird")
    assert result.exit_code == 2
    assert "did you mean waterbirds?" in result.stderr
    assert (
        "cub, imagefolder, imagefolder_miniature, iwildcam, miniature, miniature_places, waterb" in result.stderr
    )


@pytest.mark.parametrize("arguments", [[], ["photos", "--recipe", "cub"], ["--recipe", "cub", "--miniature"]])
def test_images_or_a_recipe_are_named_and_not_both(arguments, here):
    result = init(*arguments)
    assert result.exit_code == 2
    assert not list(here.iterdir())


def test_a_dataset_of_the_paper_gets_its_recipe(here):
    from corpus.layouts import as_cub

    as_cub(here / "CUB")
    assert init("CUB").exit_code == 0
    ours, shipped = load_config("mine.yaml"), load_config(Path(recipes.__path__[0]) / "cub.yaml")
    assert ours.source.path.given == "CUB"
    assert (ours.train, ours.judge, ours.discover) == (shipped.train, shipped.judge, shipped.discover)
