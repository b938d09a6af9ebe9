"""Sources of which few rows are Python's objects at a time, listed here, by tasks of Ray, and from a store."""

import io
import tarfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counted_store import counted_store
from pydantic import TypeAdapter

from alia_ray.cluster import tasks
from alia_ray.config import Run
from alia_ray.config.source import Source
from alia_ray.sources import files, folders, huggingface, list_images, listing
from alia_ray.store.run_folder import RunFolder

KINDS = ("imagefolder", "csv", "parquet", "webdataset", "huggingface")


def made(kind: str, root: Path, picture) -> Source:
    """A source of eleven pictures of two classes, in several folders or shards where it has any."""
    root.mkdir()
    pictures = {f"{('cat', 'dog')[number % 2]}/{number}.png": picture(number) for number in range(11)}
    options = {"path": str(root), "val_fraction": 0.2, "test_fraction": 0.2}
    if kind in ("imagefolder", "csv"):
        for path, content in pictures.items():
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_bytes(content)
    if kind == "csv":
        lines = [f"{path},{path[:3]}" for path in pictures]
        (root / "list.csv").write_text("\n".join(["path,label", *lines]))
        options |= {"path": str(root / "list.csv"), "root": str(root)}
    columns = {"image": list(pictures.values()), "label": [path[:3] for path in pictures]}
    if kind == "parquet":
        for start in range(0, 11, 4):
            pq.write_table(pa.table(columns).slice(start, 4), root / f"{start:02}.parquet", row_group_size=3)
    if kind == "webdataset":
        for start in range(0, 11, 4):
            with tarfile.open(root / f"{start:02}.tar", "w") as tar:
                for path, content in list(pictures.items())[start : start + 4]:
                    for name, data in ((path.replace("/", "-"), content), (path[4:-3] + "cls", path[:3].encode())):
                        member = tarfile.TarInfo(name.removeprefix(path[:4].replace("/", "-")))
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
    if kind == "huggingface":
        datasets.Dataset.from_dict(columns).save_to_disk(str(root))
        options["name"] = options.pop("path")
    return TypeAdapter(Source).validate_python({"kind": kind, **options})


@pytest.mark.parametrize("kind", KINDS)
def test_a_listing_does_not_depend_on_how_many_rows_are_looked_at_at_once(tmp_path, picture, monkeypatch, kind):
    source = made(kind, tmp_path / "source", picture)
    whole = list_images(source)
    for module in (files, folders, huggingface, listing):
        monkeypatch.setattr(module, "AT_ONCE", 2)
    assert list_images(source).equals(whole, check_metadata=True)
    assert set(whole.column("label").to_pylist()) == {"cat", "dog"}
    assert whole.num_rows == 11


@pytest.mark.parametrize("kind", ["imagefolder", "parquet", "webdataset"])
def test_tasks_list_what_this_process_would(tmp_path, picture, monkeypatch, ray_cluster, capsys, kind):
    source = made(kind, tmp_path / "source", picture)
    monkeypatch.setattr(tasks, "SOON_S", 0.0)
    by_tasks = list_images(source, tasks.spread(Run(folder=str(tmp_path), accelerator="cpu"), "source"))
    assert "the cluster goes over the others" in capsys.readouterr().err
    assert by_tasks.equals(list_images(source), check_metadata=True)


@pytest.mark.parametrize("kind", ["imagefolder", "parquet", "webdataset"])
def test_an_object_store_is_listed_as_a_disk_is(tmp_path, picture, kind):
    source = made(kind, tmp_path / "source", picture)
    with counted_store() as store:
        bucket = RunFolder(store.uri("source"))
        for file in (tmp_path / "source").rglob("*"):
            if file.is_file():
                bucket.write_bytes(file.read_bytes(), *file.relative_to(tmp_path / "source").parts)
        there = list_images(source.model_copy(update={"path": store.uri("source")}))
    here = list_images(source)
    assert there.drop_columns("version").equals(here.drop_columns("version"))
