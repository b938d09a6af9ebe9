"""Driver and workers in different working directories, as on any cluster that somebody has started before."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image


@pytest.mark.slow
def test_workers_in_another_folder_read_and_write_what_the_driver_means(tmp_path):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for label, colour in (("cat", "red"), ("dog", "blue")):
        (here / "photos" / label).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (8 + number, 8), colour).save(here / "photos" / label / f"{number}.png")
    elsewhere.mkdir()
    subprocess.run(  # a process of its own, since the other tests share a Ray
        [sys.executable, __file__, here, elsewhere],
        check=True,
        timeout=300,
    )
    tables = list((here / "runs" / "x" / "images").glob("*/part-*.parquet"))
    assert sum(pq.read_metadata(path).num_rows for path in tables) == 16
    assert list(elsewhere.iterdir()) == []


def ingest(here: str, elsewhere: str) -> None:
    """Ingest from the folder `here` on a cluster whose processes live in `elsewhere`."""
    import ray
    from ray.cluster_utils import Cluster as RayCluster

    from alia_ray import pipeline
    from alia_ray.cluster.joining import joined
    from alia_ray.config import parse_config
    from alia_ray.state import State

    os.chdir(elsewhere)
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 3})
    os.chdir(here)
    settings = parse_config(
        {
            "run": {"folder": "runs/x", "address": cluster.address},
            "source": {"kind": "imagefolder", "path": "photos"},
        }
    )
    with joined(settings.run) as resources:
        where = ray.get(ray.remote(lambda: os.getcwd()).remote())
        assert Path(where) == Path(elsewhere)  # or this test could not fail
        pipeline.run_ingest(State(settings), resources)
    cluster.shutdown()


if __name__ == "__main__":
    ingest(*sys.argv[1:])
