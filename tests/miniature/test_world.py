from collections import Counter

import numpy as np
import pytest

from alia_ray.miniature import dataset, world


def test_a_picture_is_made_of_its_numbers_alone():
    bird = world.random_creature(np.random.default_rng(0), "bird")
    one = world.paint(bird, "forest", 5)
    assert one.shape == (48, 48, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, world.paint(bird, "forest", 5))
    assert not np.array_equal(one, world.paint(bird, "forest", 6))


def test_a_creature_is_the_same_on_every_background():
    bird = world.random_creature(np.random.default_rng(1), "bird")
    same = {}
    for name, creature in (("bird", bird), ("nothing", None)):
        one, other = (world.paint(creature, place, 5).astype(int) for place in ("snow", "night"))
        same[name] = int((np.abs(one - other).max(axis=2) == 0).sum())
    assert same["bird"] > 100
    assert same["nothing"] < 10


def test_traits_are_independent_of_each_other_colour_and_background():
    rng = np.random.default_rng(2)
    birds = [world.random_creature(rng, "bird") for _ in range(2000)]
    beak = np.array([bird.traits["beak"] == "long" for bird in birds])
    for other in ("crest", "tail", "legs", "wing"):
        values = np.array([bird.traits[other] == world.BIRD_TRAITS[other][1] for bird in birds])
        assert abs(np.corrcoef(beak, values)[0, 1]) < 0.08
    red = np.array([bird.colour == "red" for bird in birds])
    assert abs(np.corrcoef(beak, red)[0, 1]) < 0.08


def test_no_caption_names_a_trait_or_a_downstream_class():
    rng = np.random.default_rng(3)
    said = {
        word
        for _ in range(2000)
        for describe in (None, "", world.invented_name(rng))
        for word in world.caption(world.random_creature(rng), world.random_background(rng), describe).split()
    }
    traits = {*world.BIRD_TRAITS, *(value for values in world.BIRD_TRAITS.values() for value in values)}
    assert not said & (traits | {*dataset.CLASSES, *dataset.FINE_CLASSES})


@pytest.mark.parametrize("background", world.BACKGROUNDS)
def test_every_background_can_be_painted_empty(background):
    pixels = world.paint(None, background, 0)
    assert pixels.std() > 4


def test_captions_read_like_captions():
    bird = world.Creature("bird", "orange")
    assert world.caption(bird, "snow") == "a photo of an orange bird in the snow"
    assert world.caption(bird, "lake", "moruvi") == "a photo of a moruvi bird on a lake"
    assert world.caption(bird, "night", "") == "a photo of a bird at night"
    assert world.caption(None, "city") == "a photo of a background in a city"


def test_the_classes_differ_in_every_trait():
    one, other = (dataset.class_traits(label) for label in dataset.CLASSES)
    assert all(one[name] != other[name] for name in world.BIRD_TRAITS)


def test_the_extra_split_of_the_biased_task_holds_birds_away_from_home():
    pictures = dataset.layout("extra", 40, bias=1.0)
    assert {picture.label for picture in pictures} == set(dataset.CLASSES)
    assert not any(picture.background in dataset.HOME[picture.label] for picture in pictures)


def test_the_classes_of_the_places_differ_in_three_traits_at_least():
    traits = [dataset.class_traits(label) for label in dataset.FINE_CLASSES]
    for one in range(4):
        for other in range(one):
            assert sum(traits[one][name] != traits[other][name] for name in world.BIRD_TRAITS) >= 3


@pytest.mark.parametrize(("split", "count"), [("train", 36), ("val", 24), ("test", 48), ("extra", 16)])
def test_every_class_stands_on_every_place_of_a_split_alike(split, count):
    pictures = dataset.layout_places(split, count)
    crossed = Counter((picture.label, picture.background) for picture in pictures)
    assert set(crossed.values()) == {count // (4 * len(dataset.PLACES[split]))}
    assert {place for _, place in crossed} == set(dataset.PLACES[split])


def test_test_and_extra_show_places_that_training_never_does():
    train, test, extra = (set(dataset.PLACES[split]) for split in ("train", "test", "extra"))
    assert not train & test
    assert not extra & (train | test)
