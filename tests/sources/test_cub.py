from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from alia_ray.cluster.placement import Cluster
from alia_ray.config import ConfigError, parse_config
from alia_ray.config.source import Cub
from alia_ray.sources import list_images
from alia_ray.stages.ingest import ingest

SPECIES = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
TRAINING, TESTING = 15, 4  # of each species


@pytest.fixture
def cub(tmp_path, picture) -> Path:
    """Ids run through training and test images by turns, as in the archive."""
    root = tmp_path / "CUB_200_2011"
    lists = {name: [] for name in ("images", "image_class_labels", "train_test_split", "classes")}
    number = 0
    for place, species in enumerate(SPECIES, start=1):
        lists["classes"].append(f"{place} {species}")
        (root / "images" / species).mkdir(parents=True)
        for index in range(TRAINING + TESTING):
            number += 1
            path = f"{species}/bird_{99 - index:02}.jpg"  # names do not sort like ids
            (root / "images" / path).write_bytes(picture(number))
            lists["images"].append(f"{number} {path}")
            lists["image_class_labels"].append(f"{number} {place}")
            lists["train_test_split"].append(f"{number} {int(index % 5 != 1)}")
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def source(root: Path, **options: object) -> Cub:
    return Cub(kind="cub", path=str(root), **options)


def of_split(settings: Cub, split: str) -> pa.Table:
    listing = list_images(settings)
    return listing.filter(pc.equal(listing["split"], split))


def counts(listing: pa.Table) -> Counter:
    return Counter(zip(listing["label"].to_pylist(), listing["split"].to_pylist(), strict=True))


def test_the_last_five_training_images_of_each_species_are_extra(cub, numbers_read):
    settings = source(cub)
    training = [n for n in range(1, TRAINING + TESTING + 1) if (n - 1) % 5 != 1]
    assert numbers_read(settings, of_split(settings, "extra")) == training[-5:] + [
        n + TRAINING + TESTING for n in training[-5:]
    ]


def test_strict_tests_on_the_official_test_images_and_holds_val_out_of_train(cub, numbers_read):
    settings = source(cub, val_fraction=0.2)
    listing = list_images(settings)
    expected = {"train": 8, "val": 2, "extra": 5, "test": TESTING}
    assert counts(listing) == {(species, split): n for species in SPECIES for split, n in expected.items()}
    assert len(set(numbers_read(settings, listing))) == listing.num_rows  # no picture twice


def test_paper_lists_the_official_test_images_as_val_and_as_test(cub, numbers_read):
    settings = source(cub, protocol="paper")
    listing = list_images(settings)
    expected = {"train": 10, "val": TESTING, "extra": 5, "test": TESTING}
    assert counts(listing) == {(species, split): n for species in SPECIES for split, n in expected.items()}
    read = {split: numbers_read(settings, of_split(settings, split)) for split in expected}
    assert read["val"] == read["test"]
    assert not {*read["train"], *read["extra"]} & set(read["test"])


def test_a_training_image_has_one_origin_under_both_protocols(cub):
    strict, paper = (of_split(source(cub, protocol=name, val_fraction=0), "train") for name in ("strict", "paper"))
    assert strict.num_rows == 20
    assert strict["origin"].equals(paper["origin"])


@pytest.mark.parametrize("name", ["images", "image_class_labels", "train_test_split", "classes"])
def test_a_missing_list_is_named(cub, name):
    (cub / f"{name}.txt").unlink()
    with pytest.raises(ConfigError, match=rf"source\.path: cannot read .*{name}\.txt"):
        list_images(source(cub))


def test_lists_of_windows_are_the_same_lists(cub, numbers_read):
    expected = list_images(source(cub))
    for path in cub.glob("*.txt"):
        lines = path.read_text().replace("/", "\\").replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n \r\n")
    listing = list_images(source(cub))
    assert listing.equals(expected)
    assert numbers_read(source(cub), listing.slice(0, 3)) == numbers_read(source(cub), expected.slice(0, 3))


def test_a_listed_image_that_is_not_there_is_an_error_and_files_keep_their_case(cub, picture, numbers_read):
    listed = (cub / "images.txt").read_text().replace("bird_99.jpg", "BIRD_99.JPG")
    (cub / "images.txt").write_text(listed)
    (cub / "images" / SPECIES[0] / "BIRD_99.JPG").write_bytes(picture(77))
    listing = list_images(source(cub, val_fraction=0))
    of = dict(zip(listing["origin"].to_pylist(), numbers_read(source(cub), listing), strict=True))
    assert of[f"{SPECIES[0]}/BIRD_99.JPG"] == 77
    assert of[f"{SPECIES[1]}/BIRD_99.JPG"] is None


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("images", "1 ../../secret.jpg\n", "leads out"),
        ("images", "1\n", r"images\.txt must hold an id and a value"),
        ("images", "1 ..\\\\secret.jpg\n", "leads out"),
        ("train_test_split", "1 1\n", r"image 2 of images\.txt"),
    ],
)
def test_a_broken_list_is_refused(cub, name, text, says):
    (cub / f"{name}.txt").write_text(text)
    with pytest.raises(ConfigError, match=says):
        list_images(source(cub))


def test_under_paper_every_listed_image_is_ingested_into_its_split_twins_too(without_ray, cub, tmp_path):
    settings = parse_config(
        {
            "run": {"folder": str(tmp_path / "run"), "max_error_rate": 0},
            "source": {"kind": "cub", "path": str(cub), "protocol": "paper"},
        }
    )
    table = ingest(settings, Cluster(cpus=2, gpus=0))
    rows = table.read(["origin", "split"])
    assert rows.num_rows == 46
    listing = list_images(settings.source)
    assert dict(zip(*(rows[c].to_pylist() for c in ("origin", "split")), strict=True)) == dict(
        zip(*(listing[c].to_pylist() for c in ("origin", "split")), strict=True)
    )
    assert not table.errors("ingest").ids()
