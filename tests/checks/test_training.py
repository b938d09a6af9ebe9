"""What the classifiers need and cannot have is refused before anything is paid for."""

import re
from pathlib import Path
from urllib.error import URLError

import pyarrow as pa
import pytest

from alia_ray.checks import training
from alia_ray.config import Train, load_config
from alia_ray.miniature.recipes import DEMO

IMAGES = pa.table({"split": ["train"] * 100})


def said(*overrides: str, stages: tuple[str, ...] = ("train",)) -> list[str]:
    return list(training.wrong_things(load_config(DEMO, list(overrides)).train, stages))


@pytest.mark.parametrize(
    ("epochs", "amounts", "told"), [(20, "0.25,1,2,4", []), (2, "1,4", ["2.50"]), (3, "1", ["1.33"])]
)
def test_steps_that_whole_epochs_cannot_make_equal_are_said(epochs, amounts, told):
    overrides = [f"train.epochs={epochs}", "train.equal_steps=true", f"experiment.amounts=[{amounts}]"]
    sentences = list(training.doubtful_things(load_config(DEMO, overrides), IMAGES))
    assert [re.search(r"about (\S+) times", sentence).group(1) for sentence in sentences] == told
    assert not list(training.doubtful_things(load_config(DEMO, [*overrides, "train.equal_steps=false"]), IMAGES))


@pytest.mark.parametrize(
    ("chosen", "extra", "told"),
    [
        ("{edits_per_image: 2}", 0, []),  # a third of the epochs, which is whole
        ("{num_extra: 25}", 0, ["0.25 "]),
        ("{num_extra: 300}", 0, ["1 "]),
        ("{num_extra: extra}", 30, ["0.3 "]),
    ],
)
def test_so_they_are_of_what_arms_add_without_an_experiment(chosen, extra, told):
    overrides = ["train.epochs=3", "train.equal_steps=true", f"select={chosen}", "train.arms=[original, alia]"]
    listing = pa.table({"split": ["train"] * 100 + ["extra"] * extra})
    found = training.doubtful_things(load_config(DEMO, overrides), listing)
    assert [re.search(r"with (\S+ )images", sentence).group(1) for sentence in found] == told


@pytest.fixture
def no_server(tmp_path, monkeypatch) -> Path:
    """torchvision's weights can be had from the returned folder only."""

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(training, "urlopen", refuse)
    return tmp_path / "hub" / "checkpoints"


def test_imagenet_weights_that_are_nowhere_are_refused_with_where_they_belong(no_server, monkeypatch):
    wanted = ["train.architecture=resnet18", "train.weights=imagenet"]
    [sentence] = said(*wanted)
    assert sentence.startswith("train.weights: the ImageNet weights of resnet18 are not on this machine")
    file = Path(sentence.partition(" at ")[2].partition(",")[0])
    assert file.parent == no_server
    file.parent.mkdir(parents=True)
    file.touch()
    [sentence] = said(*wanted)
    assert sentence.endswith("not as its name says; delete it")
    monkeypatch.setattr("alia_ray.models.imagenet.tampered", lambda file: None)
    assert said(*wanted) == []


def test_only_what_trains_asks_for_weights(no_server):
    wanted = ["train.architecture=resnet18", "train.weights=imagenet"]
    assert said(*wanted, stages=("caption", "edit", "evaluate")) == []
    assert len(said(*wanted, stages=("train_base",))) == 1


@pytest.mark.parametrize(("architecture", "sizes"), [("vit_b_16", "48"), ("alexnet", "32"), ("vgg11", "16")])
def test_a_classifier_that_takes_no_pictures_of_the_size_is_refused(architecture, sizes):
    chosen = [f"train.architecture={architecture}", "train.weights=none"]
    [sentence] = said(*chosen, f"train.image_size={sizes}")
    assert sentence.startswith(f"train.image_size: {architecture} does not take {sizes}² pixels")
    assert said(*chosen, "train.image_size=224") == []


def test_a_classifier_that_cannot_be_tried_by_shapes_is_left_alone():
    assert said("train.architecture=regnet_y_400mf", "train.weights=none", "train.image_size=48") == []


@pytest.fixture
def wandb_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "find_spec", lambda name: name)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_wandb_without_a_key_is_refused_before_the_edits_are_made(wandb_is_there):
    [sentence] = training.untracked(Train(trackers=["wandb", "mlflow"]))
    assert sentence == "train.trackers: wandb has no key; set WANDB_API_KEY, or WANDB_MODE=offline"


@pytest.mark.parametrize("missing", ["sqlalchemy", "alembic"])
def test_mlflow_that_can_make_no_store_needs_a_server(monkeypatch, missing):
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == missing else name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    [sentence] = training.untracked(Train(trackers=["mlflow"]))
    assert sentence.endswith("needs sqlalchemy and alembic; set MLFLOW_TRACKING_URI, or install both")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert list(training.untracked(Train(trackers=["mlflow"]))) == []


@pytest.mark.parametrize("variable", [("WANDB_API_KEY", "k"), ("WANDB_MODE", "offline")])
def test_wandb_with_a_key_or_offline_is_taken(wandb_is_there, monkeypatch, variable):
    monkeypatch.setenv(*variable)
    assert list(training.untracked(Train(trackers=["wandb"]))) == []


def test_the_key_that_wandb_login_left_counts_for_its_server_alone(wandb_is_there, monkeypatch):
    wandb_is_there.write_text("machine api.wandb.ai login user password k\n")
    wandb_is_there.chmod(0o600)
    assert list(training.untracked(Train(trackers=["wandb"]))) == []
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert len(list(training.untracked(Train(trackers=["wandb"])))) == 1


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON"])
def test_a_classifier_to_start_from_that_is_none_of_ours_is_refused(tmp_path, text):
    (tmp_path / "classifier.json").write_text(text)
    [sentence] = said(f"train.weights={tmp_path}")
    assert sentence.startswith(f"train.weights: classifier.json in {tmp_path} cannot be read")
    assert (tmp_path / "classifier.json").read_text() == text  # it is not the run's own
