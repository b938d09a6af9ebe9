"""The pools of the stages: how many workers of real size the memory holds, and that each asks for its device."""

from collections.abc import Callable
from types import ModuleType

import pyarrow as pa
import pytest

from alia_ray.cluster.memory import caption_needs, edit_needs, judge_needs
from alia_ray.cluster.placement import GB, Cluster, Node, Placement
from alia_ray.config import Config, load_config
from alia_ray.errors import StageError
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature.recipes import DEMO
from alia_ray.stages import caption, loading
from alia_ray.stages import edit as editing
from alia_ray.stages.ingest import images_table
from alia_ray.stages.stored import stored_edits
from alia_ray.stages.trying import EditAndJudge, JudgeStored, Rules, rules_of
from alia_ray.store.ledger import ledger_of
from alia_ray.store.tables import DOMAINS, IMAGES
from alia_ray.training import evaluation, learner

NODE = Cluster.of((Node(cpus=16, memory=12 * GB),))
REAL = ["caption.model.name=random:blip-large", "edit.model.name=random:sd15", "judge.model.name=random:ViT-L-14"]


def captions(settings: Config) -> None:
    caption.caption(settings, images_table(settings), NODE)


def edits(settings: Config, stage: str = "edit") -> None:
    target, prompts = editing.edits_table(settings, "base"), domain_rows(["a {} at sea"], [], "a photo of a {}", 0)
    domains = pa.Table.from_pylist(prompts, schema=DOMAINS)
    asked = editing.asked_of("discovered", settings, images_table(settings), domains, target, {})
    nothing = stored_edits(ledger_of(target.folder), target, "SELECT NULL AS edit_id")
    editing.edit(settings, asked, "base", NODE, nothing, stage)


def judgements(settings: Config) -> None:
    edits(settings, "judge")


class Placed(Exception):
    """The pool of the pass that would have begun."""


@pytest.mark.parametrize(
    ("stage", "module", "needs"),
    [(captions, caption, caption_needs), (edits, editing, edit_needs), (judgements, editing, judge_needs)],
)
def test_a_pool_has_no_more_workers_than_the_memory_holds(
    without_ray, tmp_path, monkeypatch, stage, module: ModuleType, needs: Callable
):
    def begin(job: object, placement: Placement) -> None:
        raise Placed(placement)

    monkeypatch.setattr(module, "progress_of" if module is editing else "run_pass", begin)
    settings = load_config(DEMO, [*REAL, f"run.folder={tmp_path}/run", "edit.size=512", "edit.batch_size=1"])
    image = {"image_id": "i", "label": "bird", "group": "sea", "split": "train", "width": 512, "height": 512}
    images_table(settings).commit(pa.Table.from_pylist([image], schema=IMAGES))
    with pytest.raises(Placed) as caught:
        stage(settings)
    [placement] = caught.value.args
    memory = needs(settings, NODE).memory
    assert (placement.workers, placement.memory) == (int(12 * GB / memory), int(memory))
    assert placement.workers < 15  # of which the CPUs would hold so many


def rules(settings: Config) -> Rules:
    return rules_of(settings.edit, None, "base", {})


@pytest.mark.parametrize(
    ("module", "start"),
    [
        (loading, lambda settings: caption._Captions(settings.caption)),
        (loading, lambda settings: EditAndJudge(settings.edit, settings.judge, rules(settings))),
        (loading, lambda settings: JudgeStored(settings.judge, rules(settings))),
        (learner, lambda settings: learner.new_learner(settings.train, 2, b"")),
        (evaluation, lambda settings: evaluation._predict("base", [], 1)),
    ],
)
def test_every_worker_asks_for_its_device_and_takes_no_other(monkeypatch, module: ModuleType, start: Callable):
    def no_card() -> None:
        raise StageError("torch cannot use the GPU")

    monkeypatch.setattr(module, "worker_device", no_card)
    with pytest.raises(StageError, match="cannot use the GPU"):
        start(load_config(DEMO))
