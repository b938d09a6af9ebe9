"""The corpus through `ingest`, laid out in every way that a source can be: each file is an image or an error.

Workers of a cluster read it in test_corpus_runs.py.
"""

import datasets
import pytest
from corpus.layouts import LAYOUTS, SAMPLES, problem

from alia_ray.cluster.placement import Cluster
from alia_ray.config import parse_config
from alia_ray.stages.ingest import ingest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_file_is_an_image_of_the_right_pixels_or_an_error_with_its_reason(
    without_ray, layout, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source, origins = layout(tmp_path / "source")
    settings = parse_config({"run": {"folder": str(tmp_path / "run"), "max_error_rate": 1}, "source": source})
    table = ingest(settings, Cluster(cpus=3, gpus=0))
    images = {row["origin"]: row["image"] for row in table.read(["origin", "image"]).to_pylist()}
    errors = {row["key"]: row["reason"] for row in table.errors("ingest").read(["key", "reason"]).to_pylist()}
    assert len(SAMPLES) >= 500
    assert sorted([*images, *errors]) == sorted(origins)  # each once, in one of the two
    rows = [
        (sample, images.get(origin), errors.get(origin)) for sample, origin in zip(SAMPLES, origins, strict=True)
    ]
    assert not [found for row in rows if (found := problem(*row))]
