import weakref
from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from alia_ray.config import Model
from alia_ray.miniature import dataset, world
from alia_ray.models.captioner import Captioner, load_blip, random_blip_large


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return Captioner(Model(name="miniature:captioner"))


def bird(number: int, background: str) -> Image.Image:
    return Image.fromarray(dataset.paint(f"caption/{number}", "tarrel", background, 3))


def test_a_caption_names_the_background(captioner):
    captions = captioner.caption([bird(i, place) for i, place in enumerate(world.BACKGROUNDS)])
    assert all(phrase in said for phrase, said in zip(world.BACKGROUNDS.values(), captions, strict=True))


def test_a_caption_does_not_depend_on_its_batch(captioner):
    pictures = [bird(i, place) for i, place in enumerate(("snow", "city", "lake"))]
    assert captioner.caption(pictures) == [captioner.caption([picture])[0] for picture in pictures]


def test_any_size_of_picture_is_taken(captioner):
    picture = bird(0, "snow")
    assert "in the snow" in captioner.caption([picture.resize((96, 96)), picture])[0]


def test_pictures_of_a_batch_are_not_held_in_their_full_size_together(captioner):
    held: list[weakref.ref] = []

    def decoded() -> Iterator[Image.Image]:
        for place in ("snow", "city", "lake", "desert"):
            assert sum(picture() is not None for picture in held) < 2  # the last one, until this one is there
            picture = bird(0, place)
            held.append(weakref.ref(picture))
            yield picture
            del picture

    assert len(captioner.caption(decoded())) == len(held) == 4


def test_captions_go_on_from_the_prefix():
    captioner = Captioner(Model(name="miniature:captioner"), prefix="a photo of a red")
    assert captioner.caption([bird(0, "snow")])[0].startswith("a photo of a red")


def test_the_random_captioner_has_the_size_of_blip_large():
    with torch.device("meta"):
        model = random_blip_large(torch.float16)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(446.3, abs=0.1)
    assert model.config.vision_config.image_size == 384
    with pytest.raises(ValueError, match="random:blip-large"):
        load_blip(Model(name="random:blip-small"), torch.float32)
