import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

from alia_ray.config import Model
from alia_ray.models.safety import SafetyChecker


@pytest.fixture
def model(tmp_path) -> Model:
    """A checker of the real class, small, that flags what is like a white picture."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    text = CLIPTextConfig(hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=4)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    checker = StableDiffusionSafetyChecker(config).eval()
    white = SafetyChecker.seen(torch.ones(1, 3, 32, 32), 32)
    with torch.inference_mode():
        alike = checker.visual_projection(checker.vision_model(white)[1])
    checker.concept_embeds.data[:] = alike
    checker.concept_embeds_weights.data[:] = 0.999
    checker.special_care_embeds_weights.data[:] = 2.0
    checker.save_pretrained(tmp_path)
    return Model(name=str(tmp_path))


def test_it_flags_each_image_by_itself_and_changes_none(model):
    checker = SafetyChecker(model)
    images = torch.stack([torch.ones(3, 48, 48), torch.zeros(3, 48, 48), torch.ones(3, 48, 48)])
    assert checker.flags(images) == [True, False, True]
    assert checker.flags(images[1:]) == [False, True]
    assert images[0].min() == 1


def test_a_checker_that_has_only_half_precision_is_taken_as_it_is(model, tmp_path):
    (tmp_path / "model.safetensors").rename(tmp_path / "model.fp16.safetensors")
    assert SafetyChecker(model).flags(torch.ones(1, 3, 48, 48)) == [True]
