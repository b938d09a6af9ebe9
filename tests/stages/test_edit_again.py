"""Edits that failed, over several runs, on the miniature's models."""

import pyarrow as pa
import pytest

from alia_ray.cluster.placement import Cluster
from alia_ray.config import Pixels, load_config
from alia_ray.errors import StageError
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.classifier import build_classifier, save_classifier
from alia_ray.stages import edit as stage
from alia_ray.stages.edit import edit, edits_table
from alia_ray.stages.ingest import ingest
from alia_ray.store.tables import DOMAINS

pytestmark = pytest.mark.slow
CLUSTER = Cluster(cpus=2, gpus=0)


def test_edits_that_failed_are_refused_again_and_made_once_when_asked(without_ray, tmp_path, monkeypatch):
    source = "source={kind: miniature, train: 8, val: 8, test: 8}"
    changed = [
        f"run.folder={tmp_path}/run",
        source,
        "edit.steps=2",
        "edit.edits_per_image=all",
        "judge.filters=[]",
    ]
    config = load_config(DEMO, changed)
    images = ingest(config, CLUSTER)
    classes = sorted(set(images.read(["label"]).column(0).to_pylist()))
    domains = domain_rows(["a photo of a {} bird in the snow"], [], config.discover.prefix, 0)
    network = build_classifier("shufflenet_v2_x0_5", "none", len(classes))
    save_classifier(str(tmp_path / "base"), network, classes, "shufflenet_v2_x0_5", Pixels(image_size=48))
    target = edits_table(config, "base")

    def run(**changes: object) -> None:
        settings = config.model_copy(update={"run": config.run.model_copy(update=changes)})
        table = pa.Table.from_pylist(domains, schema=DOMAINS)
        folder, thresholds = str(tmp_path / "base"), dict.fromkeys(classes, 0.5)
        edit(settings, images, table, target, folder, thresholds, None, CLUSTER)

    with monkeypatch.context() as patched:
        patched.setattr(stage, "_error", lambda image: "the edit is one flat colour")
        for _ in range(2):
            with pytest.raises(StageError, match=r"8 of 8 rows failed.*8 × the edit is one flat colour"):
                run()
    with pytest.raises(StageError, match="8 of 8 rows failed"):
        run()  # an edit that came out as nothing would again
    run(retry_errors=True)
    assert target.stored(["error"]).column(0).to_pylist() == [None] * 8
    assert target.errors("edit").ids() == set()
    run()
