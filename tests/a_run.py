"""A whole run that several tests look at: the demo, smaller."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alia_ray.cluster import joining
from alia_ray.cluster.joining import available
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, Run, load_config
from alia_ray.miniature.recipes import DEMO
from alia_ray.pipeline import STAGES
from alia_ray.state import State
from alia_ray.store import lease

SMALL = [
    "source={kind: miniature, train: 32, val: 16, test: 16, bias: 1.0}",
    "edit.steps=3",
    "train.arms=[original, alia]",
    "train.epochs=2",
    "caption.workers=1",
    "edit.workers=2",
    "judge.filters=[too_similar]",  # few steps make poor edits: this filter has both verdicts of them
]


def small(folder: Path, *overrides: str) -> Config:
    return load_config(DEMO, [f"run.folder={folder}", *SMALL, *overrides])


@contextmanager
def hidden_test_split(folder: Path) -> Iterator[None]:
    """Nothing can be decoded from the test split meanwhile, and its labels are no classes."""
    paths = list((folder / "images").rglob("*.parquet"))
    before = [path.read_bytes() for path in paths]
    for path in paths:
        rows = pq.read_table(path)
        hidden = [
            {**row, "image": b"hidden", "label": "hidden"} if row["split"] == "test" else row
            for row in rows.to_pylist()
        ]
        pq.write_table(pa.Table.from_pylist(hidden, schema=rows.schema), path)
    yield
    for path, content in zip(paths, before, strict=True):
        path.write_bytes(content)


def run_it(folder: Path) -> None:
    """Every stage; the test split cannot be read until every checkpoint is chosen."""
    state, cluster, stages = State(small(folder)), available("auto"), list(STAGES)
    STAGES["ingest"](state, cluster)
    with hidden_test_split(folder):
        for name in stages[1 : stages.index("evaluate")]:
            STAGES[name](state, cluster)
    for name in stages[stages.index("evaluate") :]:
        STAGES[name](state, cluster)


@contextmanager
def in_this_ray() -> Iterator[None]:
    """Commands that are invoked here take the Ray that is here, and leave it."""

    @contextmanager
    def joined(run: Run) -> Iterator[Cluster]:
        yield joining.available(run.accelerator)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "joined", joined)
        patch.setattr(lease, "SETTLE_S", 0.0)
        yield
