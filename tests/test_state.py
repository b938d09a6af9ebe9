"""What a run folder holds under a configuration, on tables made by hand."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from asking import judged_edits, needed_ids, requests_in_order, wanted_ids

from alia_ray.config import Judge, parse_config
from alia_ray.config.arms import ARMS, BASE
from alia_ray.config.run import Baselines
from alia_ray.edits.drawing import TRIES, Asked, outcomes
from alia_ray.edits.requests import Plan
from alia_ray.errors import StageError
from alia_ray.llm.discover import domain_rows
from alia_ray.reporting import _report_inputs
from alia_ray.results import errors_of
from alia_ray.stages.caption import captions_table
from alia_ray.state import State
from alia_ray.store.tables import EDITS, ERRORS, IMAGES

PROMPTS = ["a photo of a {} by the sea", "a photo of a {} in a wood"]


def state(folder: Path, **edit: object) -> State:
    settings = {
        "run": {"folder": str(folder)},
        "source": {"kind": "imagefolder", "path": "photos"},
        "discover": {"prompts": PROMPTS},
        "edit": edit,
    }
    return State(parse_config(settings))


def fill(state: State, images: int) -> dict[str, str]:
    """Images, and an edit of each under every prompt; those by the sea are paintings in the first tries only.

    Returns edit_id -> its prompt's domain.
    """
    cat = {"label": "cat", "group": "cat", "width": 4, "height": 4}
    rows = [{"image_id": f"{n:032x}", "split": "train", "origin": f"{n}.png", **cat} for n in range(images)]
    rows.append({"image_id": "val", "split": "val", "origin": "val.png", **cat})
    state.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    domains = domain_rows(PROMPTS, [], state.settings.discover.prefix, 0)
    state.domains_table().commit(pa.Table.from_pylist(domains, schema=state.domains_table().schema))
    state.folder.write_json({"cat": 0.9}, *state.arm_path(BASE), "thresholds.json")
    sea = next(row["domain_id"] for row in domains if row["prompt"].endswith("sea"))
    requests = requests_in_order(state)
    tries = [request["edit_id"] for request in requests if request["domain_id"] == sea][:TRIES]
    made = [
        {
            "edit_id": request["edit_id"],
            "image_id": request["image_id"],
            "domain_id": request["domain_id"],
            "label": request["label"],
            "semantic_text": "a painting" if request["edit_id"] in tries else "a photo",
            "image_bytes": 10,
        }
        for request in requests
    ]
    state.edits.commit(pa.Table.from_pylist(made, schema=EDITS))
    return {request["edit_id"]: "sea" if request["domain_id"] == sea else "wood" for request in requests}


def test_edits_under_a_prompt_that_is_given_up_are_not_selected_whoever_made_them(tmp_path):
    every = state(tmp_path)
    place = fill(every, images=TRIES + 30)
    assert {place[edit_id] for edit_id in every.selected()} == {"sea", "wood"}
    dropping = state(tmp_path, drop_prompt_below=0.1)
    chosen = dropping.selected()
    assert {place[edit_id] for edit_id in chosen} == {"wood"}
    assert len(chosen) == TRIES + 30
    assert judged_edits(dropping).num_rows == TRIES + 30 + TRIES  # its tries are told of


def test_no_prompt_is_given_up_where_an_arm_has_other_filters_than_those_that_it_failed(tmp_path):
    dropping = state(tmp_path, drop_prompt_below=0.1)
    place = fill(dropping, images=TRIES + 30)
    train = dropping.settings.train.model_copy(update={"arms": ["original", "alia", "alia_unfiltered"]})
    compared = State(dropping.settings.model_copy(update={"train": train}))
    for arm in ("alia", "alia_unfiltered"):
        assert {place[edit_id] for edit_id in compared.selected(ARMS[arm])} == {"sea", "wood"}


def test_a_users_prompt_that_stands_twice_is_asked_for_once(tmp_path):
    found = state(tmp_path)
    fill(found, images=4)
    prompts = Baselines(user_prompts=["a photo of a {}", "a picture of a {}", "a photo of a {}"])
    twice = State(found.settings.model_copy(update={"baselines": prompts}))
    assert len(wanted_ids(twice, "user")) == len(set(wanted_ids(twice, "user"))) == 4 * 2


def test_edits_made_otherwise_have_no_say_in_whether_one_survives_beside_the_others(tmp_path):
    """The base says "a" of all, a little less of b's; beside edits of which it says it hardly, b's look like a."""
    rule = {"filters": ["mislabelled"], "confidence_rule": "within_domain"}
    found = State(state(tmp_path).settings.model_copy(update={"judge": Judge(**rule)}))

    def made(name: str, label: str, probability: float) -> list[dict[str, object]]:
        scores = {"domain_id": "sea", "label": label, "class_probabilities": [probability, 1 - probability]}
        return [{"edit_id": f"{name}{n}", **scores, "image_bytes": 10} for n in range(10)]

    now = made("a", "a", 0.95) + made("b", "b", 0.85)
    ids = [row["edit_id"] for row in now]
    survived = []
    for rows in (now, made("c", "b", 0.5) + made("d", "b", 0.5) + made("e", "b", 0.5)):
        found.folder.table("edits", "all").commit(pa.Table.from_pylist(rows, schema=EDITS))
        thresholds, judge = {"a": 0.9, "b": 0.9}, found.settings.judge
        plan = Plan((), "img2img", "{}", 0)
        asked = Asked("all", found.images, plan, found.folder.table("edits", "all"), 0, judge, thresholds)
        of = found.ledger.given(pa.table({"edit_id": ids}))
        survived.append(found.ledger.ask(f"{outcomes(found.ledger, asked, of)} ORDER BY edit_id").to_pylist())
    assert survived[0] == survived[1] == [{"edit_id": key, "survived": True} for key in sorted(ids)]


def test_a_report_says_added_of_what_its_arm_adds_and_not_of_what_another_filter_would(tmp_path):
    found = state(tmp_path)
    fill(found, images=TRIES)

    def added(*arms: str) -> list[str]:
        train = found.settings.train.model_copy(update={"arms": ["original", *arms]})
        return _report_inputs(State(found.settings.model_copy(update={"train": train})), ()).selected.to_pylist()

    assert added("alia") == found.selected()
    assert added("alia_unfiltered") == found.selected(ARMS["alia_unfiltered"]) != found.selected()
    assert added() == added("alia_user_prompts") == []


def test_what_was_made_of_an_image_that_is_gone_is_not_read_any_more(tmp_path):
    found = state(tmp_path)
    fill(found, images=4)
    captions = captions_table(found.settings)
    ids = found.ids_of("train")
    rows = [{"image_id": image_id, "caption": f"a caption of {image_id}"} for image_id in ids]
    captions.commit(pa.Table.from_pylist(rows, schema=captions.schema))
    gone = ids[0]
    edits_of_it = set(found.edits.read().filter(pc.field("image_id") == gone).column("edit_id").to_pylist())
    assert edits_of_it & set(found.selected())
    before = found.edits.read()
    found.images.discard({gone})

    after = state(tmp_path)
    after.folder.write_json({"cat": 0.9}, *after.arm_path(BASE), "thresholds.json")
    after.edits.commit(before)  # as `judge` would, under the new base classifier
    trained = [example for part in after.training_examples(ARMS["alia"]) for example in part.ids.to_pylist()]
    assert set(after.selected()) < set(trained)
    assert edits_of_it.isdisjoint(trained)
    assert gone not in trained
    assert edits_of_it.isdisjoint(judged_edits(after).column("edit_id").to_pylist())
    asked = after.settings.discover.model_copy(update={"prompts": None})
    assert len(State(after.settings.model_copy(update={"discover": asked})).captions()) == 3


def test_a_classifier_is_another_one_once_a_label_was_corrected_and_the_same_as_long_as_none_was(tmp_path):
    found = state(tmp_path)
    fill(found, images=4)
    mark = ("listing", found.images.fingerprint, "_ingest.json")
    found.folder.write_parquet(found.images.read(["origin"]), *mark[:2], "part-listing.parquet")
    before = found.arm_fingerprint(BASE)
    found.folder.write_json({"whole": True, "corrected": False}, *mark)
    assert state(tmp_path).arm_fingerprint(BASE) == before
    seen = {before}
    for label in ("dog", "cat"):
        found.images.correct({found.ids_of("train")[0]: {"label": label}})
        found.folder.write_json({"whole": True, "corrected": True}, *mark)
        seen.add(state(tmp_path).arm_fingerprint(BASE))
    assert len(seen) == 3


def with_captions(folder: Path, failed: int, **run: object) -> State:
    """Four training images without prompts, of which some were captioned and the last `failed` could not be."""
    found = State(
        parse_config({"run": {"folder": str(folder), **run}, "source": {"kind": "imagefolder", "path": "photos"}})
    )
    rows = [{"image_id": f"{n}", "split": "train" if n < 4 else "val", "label": "cat"} for n in range(5)]
    found.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    captions, ids = captions_table(found.settings), found.ids_of("train")
    made = [{"image_id": each, "caption": "a cat"} for each in ids[: 4 - failed]]
    captions.commit(pa.Table.from_pylist(made, schema=captions.schema))
    errors = [
        {"stage": "caption", "key": each, "reason": "out of paint", "kind": "model"} for each in ids[4 - failed :]
    ]
    captions.errors("caption").commit(pa.Table.from_pylist(errors, schema=ERRORS))
    return found


def test_captions_that_all_failed_are_not_said_to_be_still_to_make(tmp_path):
    with pytest.raises(StageError, match=r"caption: 4 of 4 rows failed, .*out of paint"):
        with_captions(tmp_path / "a", failed=4).captions()
    with pytest.raises(StageError, match=r"caption: all 4 training images failed; .*retry_errors"):
        with_captions(tmp_path / "b", failed=4, max_error_rate=1).captions()
    assert with_captions(tmp_path / "c", failed=1, max_error_rate=0.5).captions().to_pylist() == ["a cat"] * 3
    nothing = with_captions(tmp_path / "d", failed=0)
    captions_table(nothing.settings).discard(set(nothing.ids_of("train")))
    with pytest.raises(StageError, match="there are no captions yet"):
        nothing.captions()


def test_what_failed_under_other_settings_is_no_error_of_today(tmp_path):
    """Of captions and edits those count that this configuration asks for, whoever tried them."""
    found = with_captions(tmp_path / "a", failed=2)
    assert Counter(errors_of(found)["stage"].to_pylist()) == {"caption": 2}
    caption = found.settings.caption.model_copy(update={"prefix": "a photo of"})
    assert errors_of(State(found.settings.model_copy(update={"caption": caption}))).num_rows == 0

    edited = state(tmp_path / "b")
    fill(edited, images=4)
    asked = min(needed_ids(edited))
    tables = {"ingest": edited.images, "edit": edited.edits, "judge": edited.edits}
    for stage, table in tables.items():
        row = {"stage": stage, "reason": "no", "kind": "model"}
        rows = [{**row, "key": key} for key in ("of another configuration", asked)]
        table.errors(stage).commit(pa.Table.from_pylist(rows, schema=ERRORS))
    assert Counter(errors_of(edited)["stage"].to_pylist()) == {"ingest": 2, "edit": 1, "judge": 1}
