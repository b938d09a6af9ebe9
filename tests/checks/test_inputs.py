import pytest

from alia_ray.checks.inputs import check_inputs, refuse
from alia_ray.config import ConfigError, load_config
from alia_ray.miniature.recipes import DEMO


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("caption.model.name=random:blip-huge", r"caption\.model\.name: random: knows only blip-large"),
        ("edit.model.name=random:sd16", r"edit\.model\.name: random: knows only sd15"),
        ("edit.model.name=miniature:nothing", r"edit\.model\.name: there is no miniature model"),
        ("judge.model.name=openai/clip-vit-large-patch14", r"judge\.model\.name: .* is no folder"),
        ("llm.model.name=random:llama", r"llm\.model\.name: random weights say nothing"),
        ("train.weights=nowhere", r"train\.weights: there is no classifier\.json in .*nowhere"),
        (
            "train.architecture=resnet18",
            r"train\.weights: .* holds a shufflenet_v2_x0_5; set train\.architecture to it",
        ),
        ("train.architecture=resnet51", r"train\.architecture: .*did you mean resnet"),
    ],
)
def test_a_model_that_cannot_be_there_is_refused_by_its_key(override, says):
    with pytest.raises(ConfigError, match=says):
        check_inputs(load_config(DEMO, [override]))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.arms=[original, real_data]"], r"real_data needs images in the split 'extra'"),
        (["experiment={arms: [real_data]}"], r"real_data needs images in the split 'extra'"),
        (["select.num_extra=extra"], r"select\.num_extra: 'extra' counts"),
        (["train.trackers=[mlflow]"], r"train\.trackers: mlflow is not installed"),
        (
            ["train.arms=[original, text_to_image]", "baselines={text_to_image: {model: {name: ./nowhere}}}"],
            r"baselines\.text_to_image\.model\.name: there is no folder",
        ),
    ],
)
def test_what_an_arm_needs_and_is_not_there_is_refused(overrides, says, monkeypatch):
    monkeypatch.setattr("alia_ray.checks.training.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=says):
        check_inputs(load_config(DEMO, overrides))


def test_the_demo_and_models_at_real_size_pass():
    check_inputs(load_config(DEMO))
    names = (
        "caption.model.name=random:blip-large",
        "edit.model.name=random:sd15",
        "judge.model.name=random:ViT-L-14",
    )
    check_inputs(load_config(DEMO, [*names, "train.architecture=mobilenet_v3_small", "train.weights=none"]))


def test_everything_that_is_wrong_is_said_at_once():
    wrong = ["caption.model.name=./nowhere", "train.architecture=resnet51", "train.arms=[original, real_data]"]
    with pytest.raises(ConfigError) as refused:
        check_inputs(load_config(DEMO, wrong))
    keys = [sentence.partition(":")[0] for sentence in str(refused.value).splitlines()]
    assert keys == ["caption.model.name", "train.architecture", "train.weights", "train.arms"]


def test_a_source_that_cannot_be_listed_hides_no_other_problem():
    with pytest.raises(ConfigError) as refused:
        check_inputs(load_config(DEMO, ["source={kind: imagefolder, path: nowhere}", "edit.model.name=./nowhere"]))
    keys = [sentence.partition(":")[0] for sentence in str(refused.value).splitlines()]
    assert keys == ["edit.model.name", "source.path"]


def test_storage_that_fails_a_check_is_a_sentence_among_others(monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("alia_ray.checks.models.inspect", fail)
    with pytest.raises(ConfigError, match=r"no route to host\ntrain\.architecture"):
        check_inputs(load_config(DEMO, ["train.architecture=resnet51"]))


def test_a_path_that_leads_astray_hides_no_problem_that_lies_behind_none(monkeypatch):
    wrong = ["run.folder=runs/x", "source={kind: imagefolder, path: nowhere}", "train.architecture=resnet51"]
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(ConfigError) as refused:
        check_inputs(load_config(DEMO, wrong))
    keys = [sentence.partition(":")[0] for sentence in str(refused.value).splitlines()]
    assert keys == ["run.folder", "source.path", "train.architecture", "train.weights"]
    assert "nowhere is relative" in str(refused.value)


def test_what_a_check_said_before_it_failed_is_kept():
    def check():
        yield "a: is wrong"
        raise OSError("no route to host")

    with pytest.raises(ConfigError, match=r"^a: is wrong\nno route to host\nb: is wrong$"):
        refuse([check(), ["b: is wrong", "a: is wrong"]])
