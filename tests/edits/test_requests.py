import json

import pyarrow as pa
import pytest

from alia_ray.config import Edit
from alia_ray.edits.requests import class_name, plan_edits, requests_of

DOMAINS = pa.table({"domain_id": ["d1", "d2"], "prompt": ["a photo of a {} at sea", "a photo of a {} in snow"]})
IMAGES = pa.table(
    {
        "image_id": ["i1", "i2", "i3"],
        "label": ["001.Black_footed_Albatross", "cat", "cat"],
        "group": ["g", "g", "g"],
        "split": ["train", "train", "test"],
        "width": [512, 512, 512],
        "height": [512, 512, 512],
    }
)


def ids(edit: Edit, seed: int = 0, domains: pa.Table = DOMAINS) -> list[str]:
    return requests_of(IMAGES, plan_edits(domains, edit, seed)).column("edit_id").to_pylist()


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("105.Whip_poor_Will", "Eastern whip-poor-will"),
        ("110.Geococcyx", "Roadrunner"),
        ("zebra", "zebra"),
    ],
)
def test_class_names_are_cleaned_for_prompts(label, name):
    assert class_name(label) == name


def test_edits_of_labels_that_were_named_well_have_the_ids_of_earlier_releases():
    frozen = {
        "001.Black_footed_Albatross": "5bb253851d49c6290b2d2cd4b89f0dbf",
        "105.Whip_poor_Will": "920424d426db96693adcd83338d5585d",
        "110.Geococcyx": "fe690791ff1e65fded9fae6ab4b16dda",
        "200.Common_Yellowthroat": "943c32d0ac46055ef4b611b288efb4e5",
        "background": "bed370f1095c4cfb44d327e29eb79cfa",
        "dik-diks": "f1bd57cc314341e4b3598a6aab240b37",
        "landbird": "c4b681ff1c849ace355d536591115452",
        "waterbird": "27fde11d79072e5ee7c2c7d3e5a7ed4d",
        "lark": "839ee8bd35102b1dcaf13410f6f8f1fb",
        "Grey_Heron.Adult": "064794f2c4ddbd1f3247df4c76f273dd",
    }
    assert named(list(frozen)).column("edit_id").to_pylist() == list(frozen.values())


def named(labels: list[str], class_names: dict[str, str] | None = None) -> pa.Table:
    """The requests of one image of each label."""
    columns = {"image_id": "i", "group": "g", "split": "train", "width": 512, "height": 512}
    images = pa.table({"label": labels} | {name: [value] * len(labels) for name, value in columns.items()})
    return requests_of(images, plan_edits(DOMAINS.slice(0, 1), Edit(), 0, class_names))


def test_a_name_that_a_person_gave_stands_in_the_prompt_and_another_one_keeps_its_edit():
    before, after = named(["7", "b_c"]), named(["7", "b_c"], {"7": "grey seal", "elsewhere": "x"})
    assert before.column("prompt").to_pylist() == ["a photo of a 7 at sea", "a photo of a b c at sea"]
    assert after.column("prompt").to_pylist() == ["a photo of a grey seal at sea", "a photo of a b c at sea"]
    assert [a == b for a, b in zip(before.column("edit_id"), after.column("edit_id"), strict=True)] == [
        False,
        True,
    ]


def test_braces_in_a_label_do_not_disturb_the_prompt():
    assert named(["{x}"]).column("prompt").to_pylist() == ["a photo of a {x} at sea"]


def test_every_training_image_meets_every_prompt_and_no_other_split_does():
    requests = requests_of(IMAGES, plan_edits(DOMAINS, Edit(), seed=0)).to_pylist()
    assert [(r["image_id"], r["domain_id"]) for r in requests] == [
        (i, d) for i in ("i1", "i2") for d in ("d1", "d2")
    ]
    assert requests[0]["prompt"] == "a photo of a Black footed Albatross at sea"
    assert len({r["seed"] for r in requests}) == len({r["edit_id"] for r in requests}) == 4


def test_ids_depend_on_how_an_edit_is_made_and_not_on_how_it_is_batched():
    assert ids(Edit()) == ids(Edit(batch_size=3, workers=7, gpus_per_worker=0.5))
    changed = [Edit(steps=20), Edit(strength=0.5), Edit(guidance_scale=3), Edit(size=256), Edit(format="jpeg")]
    assert all(not set(ids(Edit())) & set(ids(other)) for other in changed)
    assert not set(ids(Edit())) & set(ids(Edit(), seed=1))


def test_a_setting_that_the_method_does_not_use_changes_nothing():
    assert ids(Edit(image_guidance_scale=1.5)) == ids(Edit())
    instruct = {"method": "instruct_pix2pix"}
    assert ids(Edit(**instruct, strength=0.9)) == ids(Edit(**instruct))


def test_the_ids_of_square_images_are_those_of_the_first_release():
    assert ids(Edit())[:2] == ["240a11891af9592ba97ca56e05de1eea", "93e00e69de5df866abe7b0c9958970da"]


def test_an_edit_says_the_shape_that_it_is_made_at_where_its_source_is_no_square():
    plan = plan_edits(DOMAINS, Edit(), seed=0)

    def requests(width: int, height: int) -> list[dict]:
        images = IMAGES.set_column(4, "width", pa.array([width] * 3)).set_column(
            5, "height", pa.array([height] * 3)
        )
        return requests_of(images, plan).to_pylist()

    square, wide = requests(512, 512), requests(1024, 768)
    assert {row["edit_id"] for row in square}.isdisjoint(row["edit_id"] for row in wide)
    assert [row["seed"] for row in square] == [row["seed"] for row in wide]
    assert json.loads(square[0]["parameters"]).keys().isdisjoint({"width", "height"})
    how = json.loads(wide[0]["parameters"])
    assert (how["size"], how["width"], how["height"]) == (512, 576, 432)


def test_a_domain_more_keeps_the_ids_of_the_others():
    assert set(ids(Edit(), domains=DOMAINS.slice(0, 1))) < set(ids(Edit()))
