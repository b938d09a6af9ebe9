"""Which names each key of a configuration changes: all of those that it can change a row of, and no other.

A new key fails here until KEYS says what it changes: names of NAMES, or NOTHING, since it only says which rows are
made, how fast, or where.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from asking import wanted_ids

from alia_ray.config import Config, parse_config
from alia_ray.config.arms import ARMS, BASE, EditSet
from alia_ray.config.keys import changed_names, keys
from alia_ray.edits.drawing import TRIES
from alia_ray.edits.requests import OF_IMAGES, plan_edits, requests_of
from alia_ray.llm.discover import domain_rows
from alia_ray.stages.caption import captions_table
from alia_ray.state import State
from alia_ray.store.tables import EDITS, IMAGES, content_id
from alia_ray.training.evaluation import THRESHOLDS

SEA, WOOD = PROMPTS = ["a photo of a {} by the sea", "a photo of a {} in a wood"]
TEXTS = ["a photo", "a painting"]
LABELS = ["cat", "dog", "eel"]
IMAGES_OF = {"train": TRIES + 14, "val": 3, "test": 3, "extra": 5}

NAMES = ("images", "captions", "domains", "edits", "text_to_image", "scores", "base", "jitter", "alia")
"""Of tables, of edits, and of classifiers: the one that judges, that of colour jitter, and one with edits."""
NOTHING = ""
TRAINED = "base jitter alia scores"  # edits are scored by the base classifier
DRAWN = "alia"  # other edits are drawn
EDITED = "edits text_to_image alia"
PROMPTED = f"domains {EDITED}"


@dataclass(frozen=True)
class Key:
    """Another value of a key than its default, and the names that it changes beside some other settings."""

    value: Any
    changes: str
    beside: dict[str, Any] = field(default_factory=dict)


def with_key(kind: str, **needed: Any) -> dict[str, Any]:
    """A source of a kind with what it cannot be without."""
    return {"source": {"kind": kind, **needed}}


def nested(key: str, value: Any) -> dict[str, Any]:
    """A key with its value as a tree."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def merged(tree: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two trees as one; what both say is as the other has it."""
    both = {
        key: merged(tree[key], other[key]) for key in tree.keys() & other.keys() if isinstance(other[key], dict)
    }
    return {**tree, **other, **both}


def model(key: str, changes: str, beside: dict[str, Any] | None = None) -> dict[str, Key]:
    """The keys of a model."""
    needed = merged(beside or {}, nested(f"{key}.name", "some/model"))
    values = {"name": "another/model", "revision": "v2", "dtype": "float16"}
    return {f"{key}.{name}": Key(value, changes, needed) for name, value in values.items()}


def pool(key: str) -> dict[str, Key]:
    """The keys of a pool."""
    values = {"workers": 3, "gpus_per_worker": 0.5, "cpus_per_worker": 2, "batch_size": 5}
    return {f"{key}.{name}": Key(value, NOTHING) for name, value in values.items()}


def source(kind: str, needed: dict[str, Any], **values: Any) -> dict[str, Key]:
    """The keys of a kind of source: each changes what is ingested, but for what labels are called."""
    beside = with_key(kind, **needed)
    keys = {f"source.{kind}.{name}": Key(value, "images", beside) for name, value in values.items()}
    limits = {f"source.{kind}.{name}": Key(20, "images", beside) for name in ("limit", "limit_per_class")}
    return {**keys, **limits, f"source.{kind}.class_names": Key({"cat": "tabby cat"}, PROMPTED, beside)}


SPLIT = {"val_fraction": 0.3, "test_fraction": 0.3}
COLUMNS = {"path": "there", "label_column": "kind", "split_column": "part", "group_column": "place"}
CROP = {"train": {"crop": {"height": 90, "width": 90}}}
GIVEN = {"discover": {"prompts": PROMPTS}}
MISLABELLED = {"judge": {"filters": ["mislabelled"]}}
TOP_K = {"judge": {"filters": ["mislabelled"], "confidence_rule": "top_k"}}
CONTROLNET = {"edit": {"method": "controlnet"}}

KEYS: dict[str, Key] = {
    "run.folder": Key("elsewhere", NOTHING),
    "run.seed": Key(7, f"{PROMPTED} {TRAINED}"),
    "run.address": Key("local", NOTHING),
    "run.accelerator": Key("cpu", NOTHING),  # which a record beside the rows says
    "run.gpus": Key(2, NOTHING),
    "run.gpu_timeout_s": Key(9, NOTHING),
    "run.max_error_rate": Key(0.5, NOTHING),
    "run.retry_errors": Key(True, NOTHING),
    "run.source_changes": Key("ignore", NOTHING),
    **source("imagefolder", {"path": "here"}, path="there", **SPLIT),
    **source("parquet", {"path": "here"}, image_column="picture", **COLUMNS, **SPLIT),
    **source("csv", {"path": "here", "root": "r"}, root="s", path_column="file", **COLUMNS, **SPLIT),
    **source("miniature", {}, task="places", train=16, val=16, test=16, extra=8, bias=0.7, seed=4),
    **source("cub", {"path": "here"}, path="there", protocol="paper", val_fraction=0.3),
    **source("iwildcam", {"path": "here", "lists": "l"}, path="there", lists="m", protocol="paper"),
    **source("waterbirds", {"path": "here"}, path="there"),
    **source(
        *("huggingface", {"name": "some/data"}),
        **{"name": "other/data", "config": "small", "revision": "v2", "image_column": "picture"},
        **{"label_column": "kind", "group_column": "place", **SPLIT},
    ),
    **source(
        *("webdataset", {"path": "here"}),
        **{"path": "there", "label_key": "kind", "split_key": "part", "group_key": "place", **SPLIT},
    ),
    **pool("caption"),
    **model("caption.model", "captions"),
    "caption.prefix": Key("a photo of", "captions"),
    "caption.max_new_tokens": Key(30, "captions"),
    **model("llm.model", "domains"),
    "llm.base_url": Key("http://host:8000/v1", NOTHING),  # where the model answers
    "llm.max_model_len": Key(4096, "domains"),
    "llm.gpus": Key(2, NOTHING),
    "llm.startup_timeout_s": Key(9, NOTHING),
    "llm.request_timeout_s": Key(9, NOTHING),
    "llm.concurrency": Key(2, NOTHING),
    "llm.options": Key({"quantization": "awq"}, "domains"),
    "discover.prompts": Key(PROMPTS[:1], "domains edits alia", GIVEN),
    "discover.prefix": Key("a drawing of a {}", "domains"),
    "discover.captions": Key(20, "domains"),
    "discover.max_domains": Key(3, "domains"),
    "discover.max_tokens": Key(512, "domains"),
    "discover.temperature": Key(0.5, "domains"),
    **pool("edit"),
    "edit.method": Key("instruct_pix2pix", "edits alia"),
    **model("edit.model", "edits alia"),
    "edit.preset": Key("lcm", "edits alia"),
    "edit.scheduler": Key("ddim", "edits alia"),
    "edit.steps": Key(20, "edits alia"),
    "edit.strength": Key(0.4, "edits alia"),
    "edit.guidance_scale": Key(3.0, "edits alia"),
    "edit.image_guidance_scale": Key(1.5, "edits alia", {"edit": {"method": "instruct_pix2pix"}}),
    **model("edit.controlnet", "edits alia", CONTROLNET),
    "edit.controlnet_scale": Key(0.5, "edits alia", CONTROLNET),
    "edit.canny_thresholds": Key([50, 150], "edits alia", CONTROLNET),
    "edit.size": Key(256, EDITED),  # the baseline's too
    "edit.format": Key("webp", EDITED),
    "edit.compile": Key(True, NOTHING),  # which a record beside the rows says
    "edit.edits_per_image": Key("all", NOTHING),
    "edit.keep_rejected": Key(True, NOTHING),
    "edit.drop_prompt_below": Key(0.8, DRAWN, {"select": {"edits_per_image": 2}}),
    **model("judge.model", "scores"),
    "judge.positives": Key(["a photo", "a picture"], "scores"),
    "judge.negatives": Key(["a painting"], "scores"),
    "judge.filters": Key([], DRAWN),
    "judge.confidence_rule": Key("code", DRAWN, MISLABELLED),
    "judge.top_k": Key(1, DRAWN, TOP_K),
    "judge.safety_checker": Key({"name": "some/checker"}, "scores"),
    **model("judge.safety_checker", "scores"),
    "select.edits_per_image": Key(2, DRAWN),
    "select.num_extra": Key(6, DRAWN),
    "select.class_balanced": Key(True, DRAWN, {"select": {"num_extra": 30}}),
    "baselines.user_prompts": Key(["one {}"], "text_to_image"),
    **model("baselines.text_to_image.model", "text_to_image"),
    "baselines.text_to_image.scheduler": Key("ddim", "text_to_image"),
    "baselines.text_to_image.steps": Key(20, "text_to_image"),
    "baselines.text_to_image.guidance_scale": Key(3.0, "text_to_image"),
    "train.image_size": Key(96, TRAINED),
    "train.resize": Key("squash", TRAINED),
    "train.crop": Key({"height": 90, "width": 90}, TRAINED),
    **{
        f"train.crop.{name}": Key(value, TRAINED, CROP)
        for name, value in {"square": 99, "top": 9, "left": 9}.items()
    },
    **{f"train.crop.{name}": Key(80, TRAINED, CROP) for name in ("height", "width")},
    "train.normalise": Key(False, TRAINED),
    "train.arms": Key(["original", "alia_unfiltered"], NOTHING),
    "train.seed": Key(5, TRAINED),
    "train.architecture": Key("resnet18", TRAINED),
    "train.weights": Key("none", TRAINED),
    "train.epochs": Key(9, TRAINED),
    "train.batch_size": Key(64, TRAINED),
    "train.learning_rate": Key(0.01, TRAINED),
    "train.momentum": Key(0.8, TRAINED),
    "train.weight_decay": Key(0.01, TRAINED),
    "train.flip": Key(False, TRAINED),
    **{
        f"train.color_jitter.{name}": Key(0.2, "jitter")
        for name in ("brightness", "contrast", "saturation", "hue")
    },
    "train.select_by": Key("accuracy", TRAINED),
    "train.workers": Key(2, NOTHING),  # docs/experiment.md says what they do change
    "train.cpus_per_worker": Key(2, NOTHING),
    "train.loading": Key("stream", NOTHING),
    "train.max_failures": Key(0, NOTHING),
    "train.trackers": Key(["mlflow"], NOTHING),
    "train.equal_steps": Key(True, "alia"),  # of those that images are added to
    "experiment": Key({}, NOTHING),
    "experiment.arms": Key(["original"], NOTHING),
    "experiment.seeds": Key([4], NOTHING),
    "experiment.fresh_draws": Key(True, NOTHING, with_key("miniature")),
    "experiment.amounts": Key([2], NOTHING),
    "experiment.amount_arms": Key(["alia_unfiltered"], NOTHING),
}


UNREAD = [
    ("edit.strength", {"edit": {"method": "instruct_pix2pix"}}),
    ("edit.image_guidance_scale", {}),
    ("edit.controlnet_scale", {}),
    ("edit.controlnet.name", {}),
    ("llm.max_model_len", GIVEN),
    ("llm.model.name", GIVEN),
    ("judge.top_k", MISLABELLED),
]
"""Keys that nothing reads beside some settings."""


def test_every_key_says_which_names_it_changes():
    other_sources = {key.name for key in keys(Config) if key.name.endswith(".kind")}
    assert sorted(KEYS) == sorted({key.name for key in keys(Config)} - other_sources)
    assert all(changed_names(name) == {"images"} for name in other_sources)


@pytest.mark.parametrize("key", KEYS)
def test_the_reference_says_that_a_key_redoes_what_it_changes(key):
    assert changed_names(key) == set(KEYS[key].changes.split())


def state_of(folder: Path, beside: dict[str, Any], key: str | None = None) -> State:
    """The run of some settings, perhaps with another value of a key."""
    tree = {"run": {"folder": str(folder)}, "source": {"kind": "imagefolder", "path": "here"}, **beside}
    if key is not None:
        path = key.replace(f"source.{tree['source']['kind']}.", "source.")
        tree = merged(tree, nested(path, KEYS[key].value))
    return State(parse_config(tree))


def fill(state: State) -> None:
    """Images, captions, domains, thresholds and all edits; outcomes depend on image and prompt alone."""
    splits = [split for split, number in IMAGES_OF.items() for _ in range(number)]
    images = [
        {"image_id": f"{n:03}", "split": split, "label": LABELS[n % 3], "width": 64, "height": 48}
        for n, split in enumerate(splits)
    ]
    state.images.commit(pa.Table.from_pylist(images, schema=IMAGES))
    captions = captions_table(state.settings)
    said = [{"image_id": each, "caption": f"an animal, {each}"} for each in state.ids_of("train")]
    captions.commit(pa.Table.from_pylist(said, schema=captions.schema))
    domains = domain_rows(state.settings.discover.prompts or PROMPTS, [], state.settings.discover.prefix, 0)
    state.domains_table().commit(pa.Table.from_pylist(domains, schema=state.domains_table().schema))
    state.folder.write_json(dict(zip(LABELS, (0.4, 0.6, 0.8), strict=True)), *state.arm_path(BASE), THRESHOLDS)
    places = {row["domain_id"]: row["prompt"] for row in domains}
    edits = [{**row, **scores_of(row, places[row["domain_id"]])} for row in requested(state, "discovered")]
    state.edits.commit(pa.Table.from_pylist(edits, schema=EDITS))


def scores_of(edit: dict[str, Any], prompt: str) -> dict[str, Any]:
    """Drawn from the image and the prompt. Some in a wood become paintings, none by the sea does."""
    draws = [byte / 256 for byte in bytes.fromhex(content_id(edit["image_id"], prompt))]
    place = LABELS.index(edit["label"])
    rank = 1 + int(3 * draws[0])
    confidence = 0.35 + 0.6 * draws[1]
    return {
        "semantic_text": TEXTS[prompt == WOOD and draws[2] < 0.4],
        "predicted_label": LABELS[(place + rank - 1) % 3],
        "confidence": confidence,
        "label_probability": confidence if rank == 1 else 0.1,
        "label_rank": rank,
        "image_bytes": 9,
    }


def requested(state: State, edits: EditSet) -> list[dict[str, Any]]:
    """What a set of edits asks for, as rows."""
    settings = state.edit_settings(edits)
    plan = plan_edits(*(state.prompts_of(edits), settings.edit, settings.run.seed), settings.source.class_names)
    rows = requests_of(state.images.read(list(OF_IMAGES)), plan)
    return rows.drop_columns("source_image").to_pylist()


def names_of(state: State) -> dict[str, str]:
    """The names of NAMES, after what they are names of was made."""
    fill(state)
    found = (
        *(state.images.fingerprint, captions_table(state.settings).fingerprint, state.domains_table().fingerprint),
        *(content_id(*sorted(wanted_ids(state, edits))) for edits in ("discovered", "text_to_image")),
        state.edits.fingerprint,
        *(state.arm_fingerprint(ARMS[arm]) for arm in ("original", "color_jitter", "alia")),
    )
    return dict(zip(NAMES, found, strict=True))


@pytest.fixture(scope="module")
def names_beside(tmp_path_factory) -> Callable[[dict[str, Any]], dict[str, str]]:
    """The names of some settings, each found once."""
    known: dict[str, dict[str, str]] = {}

    def names(beside: dict[str, Any]) -> dict[str, str]:
        text = json.dumps(beside)
        if text not in known:
            known[text] = names_of(state_of(tmp_path_factory.mktemp("beside"), beside))
        return known[text]

    return names


@pytest.mark.parametrize("key", KEYS)
def test_a_key_changes_the_names_of_what_it_can_change_and_no_other(key, names_beside, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for run.folder
    before = names_beside(KEYS[key].beside)
    after = names_of(state_of(tmp_path, KEYS[key].beside, key))
    assert {name for name in NAMES if before[name] != after[name]} == set(KEYS[key].changes.split())


ASKED = ("train.arms", "edit.edits_per_image", "edit.keep_rejected")
"""Keys that are in the name of no row and of no classifier, and say all the same what is made."""


@pytest.mark.parametrize("key", KEYS)
def test_results_lie_under_all_that_they_depend_on_and_nothing_else(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for run.folder
    before, after = state_of(tmp_path, KEYS[key].beside), state_of(tmp_path, KEYS[key].beside, key)
    is_another = before.results.name != after.results.name
    assert is_another == (bool(KEYS[key].changes) or key in ASKED)
    draws = [State(found.settings, whole=found.settings).results.name for found in (before, after)]
    experiment_changes = is_another or (key.startswith("experiment.") and key != "experiment")
    assert (draws[0] != draws[1]) == experiment_changes


@pytest.mark.parametrize(("key", "beside"), UNREAD)
def test_a_key_that_nothing_reads_changes_no_name(key, beside, names_beside, tmp_path):
    assert names_of(state_of(tmp_path, beside, key)) == names_beside(beside)
