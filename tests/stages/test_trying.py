"""The worker of the edit stage by itself, on the miniature's models."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from trying import with_tries

from alia_ray.config import Config, Pixels, load_config
from alia_ray.edits.requests import Plan, plan_edits, requests_of
from alia_ray.images import decode_rgb, encode, to_array
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature import dataset, shapes
from alia_ray.miniature.recipes import DEMO
from alia_ray.models.classifier import Classifier, build_classifier, save_classifier
from alia_ray.models.clip import ClipJudge
from alia_ray.stages.trying import EditAndJudge, rules_of
from alia_ray.store.tables import DOMAINS

pytestmark = pytest.mark.slow
PROMPTS = [f"a photo of a {{}} bird {place}" for place in ("in the snow", "at night", "on a beach")]
CLASSES = list(dataset.CLASSES)[:2]


@pytest.fixture(scope="module")
def settings() -> Config:
    changed = ["edit.steps=2", "edit.edits_per_image=1", "edit.keep_rejected=true", "judge.filters=[]"]
    return load_config(DEMO, changed)


@pytest.fixture(scope="module")
def plan(settings) -> Plan:
    found = domain_rows(PROMPTS, [], settings.discover.prefix, 0)
    return plan_edits(pa.Table.from_pylist(found, schema=DOMAINS), settings.edit, settings.run.seed)


@pytest.fixture
def worker(settings, plan, tmp_path_factory) -> EditAndJudge:
    """With a base classifier that has learnt nothing."""
    folder = str(tmp_path_factory.mktemp("base"))
    network = build_classifier("shufflenet_v2_x0_5", "none", len(CLASSES))
    save_classifier(folder, network, CLASSES, "shufflenet_v2_x0_5", Pixels(image_size=48))
    return EditAndJudge(
        settings.edit, settings.judge, rules_of(settings.edit, plan, folder, dict.fromkeys(CLASSES, 0.9))
    )


def images(plan: Plan, count: int) -> pa.Table:
    """Training images with all prompts to be tried."""
    rows = [
        {
            "image_id": f"image-{number}",
            "image": encode(Image.fromarray(dataset.paint(f"t/{number}", CLASSES[number % 2], "forest", 1))),
            "label": CLASSES[number % 2],
            "group": "forest",
            "split": "train",
            "width": shapes.SIZE,
            "height": shapes.SIZE,
        }
        for number in range(count)
    ]
    table = pa.Table.from_pylist(rows)
    return with_tries(table, requests_of(table.drop_columns("image"), plan), 0)


def tries_of(rows: pa.Table, image_id: str) -> list[str]:
    """The verdicts of an image's attempts, in their order."""
    return [row["verdict"] for row in rows.to_pylist() if row["image_id"] == image_id]


def test_what_is_flagged_as_unsafe_is_a_verdict_without_a_picture_and_the_next_prompt_is_tried(worker, plan):
    class FlagsThree:
        asked = 0

        def flags(self, images: torch.Tensor) -> list[bool]:
            flags = [self.asked + place < 3 for place in range(len(images))]
            self.asked += len(images)
            return flags

    worker.scorer.safety = FlagsThree()
    rows = worker(images(plan, 2))
    assert tries_of(rows, "image-0") == ["unsafe", "unsafe", "kept"]
    assert tries_of(rows, "image-1") == ["unsafe", "kept"]
    for row in rows.to_pylist():
        assert (row["image"] is None) == (row["verdict"] == "unsafe")
        assert row["unsafe"] == (row["verdict"] == "unsafe")
        assert row["error"] is None


def test_an_edit_that_came_out_as_nothing_is_an_error_row_and_the_next_prompt_is_tried(worker, plan, monkeypatch):
    edit, broken = worker.editor.edit, [torch.tensor(torch.nan), torch.tensor([0.1, 0.6, 0.3])[:, None, None]]

    def breaking(*arguments: object) -> torch.Tensor:
        edited = edit(*arguments).clone()
        if broken:
            edited[0] = broken.pop(0)
        return edited

    monkeypatch.setattr(worker.editor, "edit", breaking)
    rows = worker(images(plan, 1))
    assert tries_of(rows, "image-0") == ["error", "error", "kept"]
    first, second, third = rows.to_pylist()
    assert first["error"] == "the edit holds NaN or infinite pixels"
    assert second["error"] == "the edit is one flat colour"
    assert (first["image"], second["image"]) == (None, None)
    assert third["error"] is None
    assert np.isclose(sum(third["class_probabilities"]), 1.0)
    assert np.isclose(third["label_probability"], third["class_probabilities"][CLASSES.index(third["label"])])


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_what_is_judged_is_the_picture_that_training_reads(worker, plan, monkeypatch, format):
    score, seen = worker.scorer.score, []
    monkeypatch.setattr(worker.scorer, "score", lambda shown, labels: seen.extend(shown) or score(shown, labels))
    worker.rules = replace(worker.rules, format=format)
    pictures = worker(images(plan, 2))["image"].to_pylist()
    assert len(pictures) == len(seen) == 2
    for picture, judged in zip(pictures, seen, strict=True):
        assert np.array_equal(to_array(decode_rgb(picture)), judged.numpy())


@pytest.mark.parametrize(("judge", "method"), [(ClipJudge, "score"), (Classifier, "probabilities")])
def test_scores_that_are_no_numbers_make_an_error_row_and_pass_no_filter(worker, plan, monkeypatch, judge, method):
    give = getattr(judge, method)
    monkeypatch.setattr(judge, method, lambda self, shown: give(self, shown) * float("nan"))
    rows = worker(images(plan, 1))
    assert tries_of(rows, "image-0") == ["error"] * len(PROMPTS)
    assert set(rows.column("error").to_pylist()) == {"a judge's scores are not finite"}
    assert rows.column("image").null_count == rows.num_rows
