import json

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from alia_ray.config import Model
from alia_ray.images import to_array
from alia_ray.miniature import dataset, world
from alia_ray.models.clip import ClipJudge, load_clip

POSITIVES = ["a photo of a bird"]
NEGATIVES = ["a photo of a background", "a photo of noise"]


@pytest.fixture(scope="module")
def judge() -> ClipJudge:
    return ClipJudge(Model(name="miniature:clip"), POSITIVES, NEGATIVES)


def tensor(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def test_birds_score_as_birds_and_empty_scenes_and_noise_do_not(judge):
    birds = tensor([dataset.paint(f"clip/{i}", "mirrol", place, 4) for i, place in enumerate(world.BACKGROUNDS)])
    empty = tensor([world.paint(None, place, 9) for place in world.BACKGROUNDS])
    noise = torch.rand(8, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert (judge.score(birds).argmax(1) == 0).all()
    assert (judge.score(empty).argmax(1) == 1).all()
    assert (judge.score(noise).argmax(1) == 2).all()


def test_scores_are_probabilities_in_the_order_of_the_texts(judge):
    images = torch.rand(5, 3, 48, 48)
    scores = judge.score(images)
    assert scores.shape == (5, 3)
    assert scores.dtype == torch.float32
    assert torch.allclose(scores.sum(1), torch.ones(5))
    turned = ClipJudge(Model(name="miniature:clip"), NEGATIVES[::-1], POSITIVES).score(images)
    assert torch.allclose(turned, scores.flip(1), atol=1e-5)


def test_scores_do_not_depend_on_the_batch(judge):
    images = torch.rand(4, 3, 48, 48)
    alone = torch.cat([judge.score(image[None]) for image in images])
    assert torch.allclose(judge.score(images), alone, atol=1e-4)


def test_preprocessing_is_the_models_own():
    judge = ClipJudge(Model(name="miniature:clip"), POSITIVES, NEGATIVES)
    pixels = np.random.default_rng(0).integers(0, 256, (75, 131, 3), np.uint8)
    own = image_transform_v2(PreprocessCfg(**judge.preprocessing), is_train=False)
    expected = own(Image.fromarray(pixels))
    ours = judge._preprocess(torch.from_numpy(to_array(Image.fromarray(pixels)))[None])[0]
    assert ours.shape == expected.shape
    assert (ours - expected).abs().mean() < 0.01  # PIL rounds and clips to whole pixel values on the way


def test_random_weights_have_the_real_size_and_can_be_asked():
    model, _ = load_clip(Model(name="random:ViT-B-32"), torch.float32)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(151.3, abs=0.1)
    judge = ClipJudge(Model(name="random:ViT-B-32"), POSITIVES, NEGATIVES)
    assert judge.score(torch.rand(1, 3, 48, 48)).shape == (1, 3)


def test_a_folder_without_safetensors_is_refused(tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({}))
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ValueError, match="safetensors"):
        load_clip(Model(name=str(tmp_path)), torch.float32)
