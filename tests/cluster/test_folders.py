"""Driver and workers in different working directories, as on any cluster that somebody has started before."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from PIL import Image
from ray.cluster_utils import Cluster as RayCluster

from alia_ray import pipeline
from alia_ray.cluster.joining import joined
from alia_ray.config import parse_config
from alia_ray.state import State

pytestmark = pytest.mark.slow


@pytest.fixture
def address(tmp_path, monkeypatch) -> Iterator[str]:
    """A cluster whose processes live in a folder of their own."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ray.shutdown()
    monkeypatch.chdir(elsewhere)
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 3})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def test_workers_in_another_folder_read_and_write_what_the_driver_means(address, tmp_path):
    here = Path.cwd()
    for label, colour in (("cat", "red"), ("dog", "blue")):
        (here / "photos" / label).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (8 + number, 8), colour).save(here / "photos" / label / f"{number}.png")
    settings = parse_config(
        {
            "run": {"folder": "runs/x", "address": address},
            "source": {"kind": "imagefolder", "path": "photos"},
        }
    )
    with joined(settings.run) as cluster:
        assert ray.get(ray.remote(lambda: os.getcwd()).remote()) != str(here)  # or this test could not fail
        pipeline.run_ingest(State(settings), cluster)
    assert State(settings).images.read(["label"]).num_rows == 16
    assert list((here / "runs" / "x" / "images").iterdir())
    assert list((tmp_path / "elsewhere").iterdir()) == []
