"""The corpus laid out in every way that a source can be, and what became of it in a run folder."""

import csv
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from alia_ray.sources.iwildcam import WILDS_CODES
from corpus import Sample, corpus

SAMPLES = corpus()
SPLITS, CLASSES = ("train", "val", "test"), ("cat", "dog")
ONE_LOSS = 12  # levels of 255 that a pixel may lose where a lossy picture was encoded anew
NAMES = (  # none says what is in the file
    "{}.jpg",
    "{}.JPG",
    "{} with spaces.png",
    "{}-\u00fc\u00f1\u56fe\U0001f426.webp",
    "{}.tar.jpeg",
    '{}\'s "best" (1), #2 & 100%.png',
    "{}-" + "long" * 50 + ".jpg",
)
ENDLESS = (*NAMES, "{}", "{}.html", "{}.eps")  # for tables, which name each file

Layout = Callable[[Path], tuple[dict[str, object], list[str]]]
"""Lays all samples out below a folder: the section `source`, and the origin of each sample in the listing."""


def split_of(number: int) -> str:
    return SPLITS[number % len(SPLITS)]


def label_of(number: int) -> str:
    return CLASSES[number // len(SPLITS) % len(CLASSES)]


def written(folder: Path, parents: Callable[[int], str], names: tuple[str, ...] = NAMES) -> list[str]:
    """Write each sample below a folder; their paths there."""
    paths = []
    for number, sample in enumerate(SAMPLES):
        path = Path(parents(number)) / names[number % len(names)].format(number)
        (folder / path.parent).mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(sample.data)
        paths.append(path.as_posix())
    return paths


def write_csv(path: Path, columns: list[str], rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def as_imagefolder(root: Path):
    paths = written(root, lambda number: f"{split_of(number)}/{label_of(number)}")
    return {"kind": "imagefolder", "path": str(root)}, paths


def as_csv(root: Path):
    paths = written(root / "files", lambda number: f"{number % 7}/a b", ENDLESS)
    rows = [(path, label_of(number), split_of(number)) for number, path in enumerate(paths)]
    write_csv(root / "list.csv", ["path", "label", "split"], rows)
    return {"kind": "csv", "path": str(root / "list.csv"), "root": str(root / "files")}, paths


def as_parquet(root: Path, images: Callable[[], pa.Array]):
    root.mkdir()
    numbers = range(len(SAMPLES))
    columns = {"image": images(), "label": [label_of(n) for n in numbers], "split": [split_of(n) for n in numbers]}
    pq.write_table(pa.table(columns), root / "a.parquet", row_group_size=100)
    return {"kind": "parquet", "path": str(root)}, [f"a.parquet#{n // 100}#{n % 100}" for n in numbers]


def as_parquet_of_bytes(root: Path):
    return as_parquet(root, lambda: pa.array([sample.data for sample in SAMPLES]))


def as_parquet_of_structs(root: Path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return as_parquet(root, lambda: pa.array([{"bytes": s.data, "path": s.name} for s in SAMPLES], kind))


def as_parquet_of_numbers(root: Path):
    return as_parquet(root, lambda: pa.array([list(sample.data) for sample in SAMPLES], pa.list_(pa.uint8())))


def as_parquet_of_paths(root: Path):
    paths = written(root / "files", lambda number: f"{number % 7}")
    numbers = range(len(SAMPLES))
    columns = {
        "image": [f"files/{path}" for path in paths],
        "label": [label_of(n) for n in numbers],
        "split": [split_of(n) for n in numbers],
    }
    pq.write_table(pa.table(columns), root / "a.parquet")
    return {"kind": "parquet", "path": str(root)}, [f"a.parquet#0#{n}" for n in numbers]


def as_webdataset(root: Path):
    root.mkdir()
    for split in SPLITS:
        with tarfile.open(root / f"{split}-000.tar", "w") as tar:
            for number in range(SPLITS.index(split), len(SAMPLES), len(SPLITS)):
                ending = ("jpg", "JPEG", "png", "webp")[number // 3 % 4]
                members = {
                    f"{number} \u00fc.{ending}": SAMPLES[number].data,
                    f"{number} \u00fc.cls": label_of(number).encode(),
                }
                for name, content in members.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    places = {}
    for split in SPLITS:
        with tarfile.open(root / f"{split}-000.tar") as tar:
            for member in tar:
                if not member.name.endswith(".cls"):
                    number = int(member.name.split()[0])
                    places[number] = f"{split}-000.tar#{member.offset_data}#{member.size}"
    return {"kind": "webdataset", "path": str(root)}, [places[number] for number in range(len(SAMPLES))]


def hugging_face() -> tuple[datasets.DatasetDict, list[str]]:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    parts, origins = {}, [""] * len(SAMPLES)
    for split in SPLITS:
        numbers = range(SPLITS.index(split), len(SAMPLES), len(SPLITS))
        rows = {
            "image": [{"bytes": SAMPLES[number].data, "path": None} for number in numbers],
            "label": [CLASSES.index(label_of(number)) for number in numbers],
        }
        parts[split] = datasets.Dataset.from_dict(rows, features=features)
        for place, number in enumerate(numbers):
            origins[number] = f"{split}#{place}"
    return datasets.DatasetDict(parts), origins


def as_saved_to_disk(root: Path):
    parts, origins = hugging_face()
    parts.save_to_disk(str(root))
    return {"kind": "huggingface", "name": str(root)}, origins


def as_data_files(root: Path):
    root.mkdir()
    parts, origins = hugging_face()
    for split, rows in parts.items():
        rows.to_parquet(root / f"{split}-00000-of-00001.parquet")
    shown = [origin.replace("val#", "validation#") for origin in origins]  # as the library calls it
    return {"kind": "huggingface", "name": str(root)}, shown


def as_cub(root: Path):
    species = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    paths = written(root / "images", lambda number: species[number % 2])
    lists = {
        "images": paths,
        "image_class_labels": [number % 2 + 1 for number in range(len(paths))],
        "train_test_split": [int(split_of(number) == "train") for number in range(len(paths))],
    }
    for name, values in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{n} {value}\n" for n, value in enumerate(values, start=1)))
    (root / "classes.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(species, start=1)))
    return {"kind": "cub", "path": str(root)}, paths


def as_iwildcam(root: Path):
    paths = written(root / "train", lambda _: "", ENDLESS)
    lists = {"train": "train_subset", "extra": "train_extra_subset", "val": "val_subset", "test": "test_subset"}
    origins = [""] * len(paths)
    for place, (split, name) in enumerate(lists.items()):
        numbers = range(place, len(paths), len(lists))
        rows = [(paths[number], WILDS_CODES[number % 7], number % 11) for number in numbers]
        write_csv(root / f"{name}.csv", ["filename", "y", "location_remapped"], rows)
        for number in numbers:
            origins[number] = f"{split}/{paths[number]}"
    return {"kind": "iwildcam", "path": str(root / "train"), "lists": str(root)}, origins


def as_waterbirds(root: Path):
    paths = written(root, lambda number: f"00{number % 9}.Bird", ENDLESS)
    rows = []
    for number, path in enumerate(paths):
        bird, place = number // 3 % 2, number // 6 % 2
        rows.append((path, bird, SPLITS.index(split_of(number)), place))
        if split_of(number) == "train" and bird == place:  # of these every fourth is taken
            rows += [(f"{Path(path).parent}/left-out-{number}-{more}.jpg", *rows[-1][1:]) for more in range(3)]
    write_csv(root / "metadata.csv", ["img_filename", "y", "split", "place"], rows)
    return {"kind": "waterbirds", "path": str(root)}, paths


LAYOUTS: tuple[Layout, ...] = (
    as_imagefolder,
    as_csv,
    as_parquet_of_bytes,
    as_parquet_of_structs,
    as_parquet_of_numbers,
    as_parquet_of_paths,
    as_webdataset,
    as_saved_to_disk,
    as_data_files,
    as_cub,
    as_iwildcam,
    as_waterbirds,
)


def problem(sample: Sample, image: bytes | None, reason: str | None) -> str | None:
    """What is wrong with the row of `images` or of `errors` that a sample became."""
    if sample.pixels is None:
        is_refused = image is None and (sample.says in reason or not sample.data)
        return None if is_refused else f"{sample.name} must be refused: {reason}"
    if image is None:
        return f"{sample.name} was refused: {reason}"
    with Image.open(io.BytesIO(image)) as stored:
        seen = np.asarray(stored.convert("RGB")).astype(int)
    if seen.shape != sample.pixels.shape:
        return f"{sample.name} has the shape {seen.shape}, not {sample.pixels.shape}"
    off = np.abs(seen - sample.pixels).max()
    return None if off <= sample.tolerance + ONE_LOSS else f"{sample.name} is off by {off}"
