from collections import Counter
from pathlib import Path

import pytest

from alia_ray.config import ConfigError
from alia_ray.config.source import Waterbirds
from alia_ray.sources import list_images, waterbirds

HEADER = "img_id,img_filename,y,split,place,place_filename\n"
SPECIES = {"001.Albatross": 1, "020.Catbird": 0}
PLACES = ("land", "water")


@pytest.fixture
def birds(tmp_path, picture) -> Path:
    """Of each species and place 10 training, 3 validation and 2 test images, species by turns."""
    lines, number = [], 0
    for split, count in enumerate((10, 3, 2)):
        for index in range(count):
            for species, y in SPECIES.items():
                for place in (0, 1):
                    number += 1
                    path = f"{species}/{split}_{index}_{place}.jpg"
                    (tmp_path / species).mkdir(exist_ok=True)
                    (tmp_path / path).write_bytes(picture(number))
                    lines.append(f"{number},{path},{y},{split},{place},/x/y/000.jpg\n")
    (tmp_path / "metadata.csv").write_text(HEADER + "".join(lines))
    return tmp_path


def source(root: Path) -> Waterbirds:
    return Waterbirds(kind="waterbirds", path=str(root))


def groups(root: Path, split: str) -> Counter:
    return Counter(row["group"] for row in list_images(source(root)).to_pylist() if row["split"] == split)


def test_train_is_every_fourth_bird_on_its_own_background_species_by_species(birds):
    train = [row["origin"] for row in list_images(source(birds)).to_pylist() if row["split"] == "train"]
    assert sorted(train) == [
        "001.Albatross/0_0_1.jpg",
        "001.Albatross/0_4_1.jpg",
        "001.Albatross/0_8_1.jpg",
        "020.Catbird/0_2_0.jpg",  # two of the ten before it were left over from the other species
        "020.Catbird/0_6_0.jpg",
    ]
    assert groups(birds, "train") == {"waterbird/water": 3, "landbird/land": 2}


def test_a_species_gives_no_more_images_than_its_cap(birds, monkeypatch):
    monkeypatch.setattr(waterbirds, "PER_SPECIES", 4)
    assert groups(birds, "train") == {"waterbird/water": 1, "landbird/land": 1}


def test_the_other_groups_of_train_and_val_are_extra_and_val_is_biased(birds):
    assert groups(birds, "extra") == {"waterbird/land": 13, "landbird/water": 13}
    assert groups(birds, "val") == {"waterbird/water": 3, "landbird/land": 3}


def test_test_holds_every_group(birds):
    assert groups(birds, "test") == {
        f"{bird}/{place}": 2 for bird in ("landbird", "waterbird") for place in PLACES
    }


def test_labels_are_landbird_and_waterbird_and_files_are_read(birds, numbers_read):
    listing = list_images(source(birds))
    by_origin = {row["origin"]: row["label"] for row in listing.to_pylist()}
    assert by_origin["001.Albatross/0_0_1.jpg"] == "waterbird"
    assert by_origin["020.Catbird/0_2_0.jpg"] == "landbird"
    assert numbers_read(source(birds), listing.slice(0, 2)) == [1, 2]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",1,0,1,", ",2,0,1,", r"metadata\.csv has y='2'"),
        (",1,0,1,", ",1,3,1,", "has split='3'"),
        (",1,0,1,", ",1,0,2,", "has place='2'"),
        (",001.", ",../001.", "leads out"),
        ("place,", "where,", "no column 'place'"),
    ],
)
def test_metadata_of_another_kind_is_refused(birds, old, new, says):
    path = birds / "metadata.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=says):
        list_images(source(birds))


def test_a_folder_without_metadata_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"source\.path: cannot read .*metadata\.csv"):
        list_images(source(tmp_path))


def test_metadata_of_windows_is_the_same_metadata(birds, numbers_read):
    expected = list_images(source(birds))
    path = birds / "metadata.csv"
    text = path.read_text().replace(",/x/y/", ",").replace("/", "\\").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    listing = list_images(source(birds))
    assert listing.equals(expected)
    assert numbers_read(source(birds), listing.slice(0, 2)) == [1, 2]
