"""Classifiers: built by name, saved and loaded, asked for probabilities."""

import io

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from alia_ray.config import Crop, Pixels
from alia_ray.images import encode
from alia_ray.models.classifier import (
    Classifier,
    build_classifier,
    class_thresholds,
    load_classifier,
    pixels_for_training,
    prepare,
    save_classifier,
)


def picture(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right, a little green that grows downwards."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, : width // 2, 0] = 200
    pixels[:, width // 2 :, 2] = 200
    pixels[:, :, 1] = np.linspace(0, 90, height, dtype=np.uint8)[:, None]
    return Image.fromarray(pixels)


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "densenet121"])
def test_the_last_layer_has_the_classes(architecture):
    model = build_classifier(architecture, "none", 5).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"train\.architecture: 'resnet19' is none of alexnet, "):
        build_classifier("resnet19", "none", 2)
    with pytest.raises(FileNotFoundError, match=r"there is no classifier in .*places"):
        build_classifier("resnet18", "places", 2)


def test_imagenet_weights_fill_all_but_the_last_layer(monkeypatch):
    torch.manual_seed(1)
    published = build_classifier("resnet18", "none", 1000).state_dict()
    monkeypatch.setattr("alia_ray.models.classifier.imagenet_weights", lambda architecture: published)
    torch.manual_seed(2)
    built = build_classifier("resnet18", "imagenet", 1000).state_dict()
    torch.manual_seed(2)
    fresh = build_classifier("resnet18", "none", 1000).state_dict()
    for name, value in built.items():
        assert torch.equal(value, fresh[name] if name.startswith("fc.") else published[name])
    assert not torch.equal(built["fc.weight"], published["fc.weight"])


def test_a_saved_classifier_fills_all_but_the_last_layer_of_another_of_its_architecture(tmp_path):
    saved = build_classifier("shufflenet_v2_x0_5", "none", 7)
    save_classifier(str(tmp_path), saved, list("abcdefg"), "shufflenet_v2_x0_5", Pixels(image_size=32))
    built = build_classifier("shufflenet_v2_x0_5", str(tmp_path), 2).state_dict()
    assert built["fc.weight"].shape[0] == 2
    for name, value in saved.state_dict().items():
        assert name.startswith("fc.") or torch.equal(built[name], value)
    with pytest.raises(ValueError, match=r"train\.weights: .* holds a shufflenet_v2_x0_5, not a resnet18"):
        build_classifier("resnet18", str(tmp_path), 2)


def test_weights_under_other_names_are_refused_and_none_are_drawn_in_their_place(tmp_path):
    model = build_classifier("shufflenet_v2_x0_5", "none", 3)
    save_classifier(str(tmp_path), model, ["a", "b", "c"], "shufflenet_v2_x0_5", Pixels())
    tensors = {f"module.{name}": value.contiguous() for name, value in model.state_dict().items()}
    (tmp_path / "model.safetensors").write_bytes(safetensors.torch.save(tensors))  # as of a DDP model
    with pytest.raises(ValueError, match=r"train\.weights: .* lacks \d+ tensors of a shufflenet_v2_x0_5: conv1"):
        build_classifier("shufflenet_v2_x0_5", str(tmp_path), 2)


def test_a_saved_classifier_says_the_same_after_loading(tmp_path):
    model = build_classifier("resnet18", "none", 3)
    with torch.no_grad():
        model.train()(torch.rand(4, 3, 32, 32))  # moves the running statistics, which must be saved too
    save_classifier(str(tmp_path / "c"), model, ["a", "b", "c"], "resnet18", Pixels(image_size=32))
    loaded = load_classifier(str(tmp_path / "c"), torch.device("cpu"))
    images = torch.rand(4, 3, 32, 32)
    with torch.inference_mode():
        expected = model.eval()(prepare(images, Pixels(image_size=32))).softmax(dim=1)
    answer = loaded.probabilities(images)
    assert loaded.classes == ["a", "b", "c"]
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer, expected)
    torch.testing.assert_close(answer.sum(dim=1), torch.ones(4))


def test_an_empty_folder_holds_no_classifier(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no classifier in"):
        load_classifier(str(tmp_path))


@pytest.mark.parametrize(
    "seen",
    [
        Pixels(image_size=32),
        Pixels(image_size=32, resize="squash"),
        Pixels(image_size=32, crop=Crop(square=48, top=8, height=40, width=48)),
    ],
)
def test_asking_with_large_images_sees_what_training_saw(seen):
    wide, shown = picture(96, 64), []
    network = torch.nn.Conv2d(3, 2, 1)
    network.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    classifier = Classifier(network, ["a", "b"], seen)
    trained_on = pixels_for_training(encode(wide), seen).float()[None] / 255
    classifier.probabilities(torch.from_numpy(np.array(wide)).permute(2, 0, 1).float()[None] / 255)
    classifier.of_squares(trained_on)
    of_picture, of_square = shown
    torch.testing.assert_close(of_square, prepare(trained_on, seen))
    torch.testing.assert_close(of_picture, of_square, atol=0.03, rtol=0)


def test_training_pixels_are_the_middle_at_the_size():
    buffer = io.BytesIO()
    picture(60, 20).save(buffer, format="png")
    pixels = pixels_for_training(buffer.getvalue(), Pixels(image_size=10))
    assert pixels.shape == (3, 10, 10)
    assert pixels.dtype == torch.uint8
    assert pixels[0, :, :4].min() > 150  # the middle third still has both halves
    assert pixels[2, :, 6:].min() > 150


def test_squashed_training_pixels_hold_the_whole_image():
    edges = Image.new("RGB", (60, 20), "black")
    edges.paste(Image.new("RGB", (6, 20), "white"), (0, 0))
    edges.paste(Image.new("RGB", (6, 20), "white"), (54, 0))
    squashed = pixels_for_training(encode(edges), Pixels(image_size=10, resize="squash"))
    assert squashed.shape == (3, 10, 10)
    assert squashed[:, :, [0, -1]].min() > 200
    assert pixels_for_training(encode(edges), Pixels(image_size=10)).max() == 0


def test_thresholds_are_mean_probabilities_of_the_own_label():
    thresholds = class_thresholds(torch.tensor([0.9, 0.5, 0.8]), torch.tensor([0, 0, 1]), 3)
    assert thresholds[:2].tolist() == pytest.approx([0.7, 0.8])
    assert thresholds[2].isnan()


def test_a_crop_cuts_the_banner_off():
    banner = Image.new("RGB", (60, 60), "white")
    banner.paste(Image.new("RGB", (60, 50), "black"), (0, 10))
    seen = Pixels(image_size=8, crop=Crop(square=60, top=10, height=50, width=60))
    assert pixels_for_training(encode(banner), Pixels(image_size=8)).max() == 255
    assert pixels_for_training(encode(banner), seen).max() == 0
