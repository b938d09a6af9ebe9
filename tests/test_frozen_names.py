"""Run folders of the first release stay valid: the names of what they hold, as that release gave them.

`python tests/test_frozen_names.py` writes the names of this release into frozen_names.json. Names that move make
every run folder do its work anew: only those that were wrong may, and docs/run.md says which.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pytest
from pydantic import create_model

from alia_ray.config import Config, Model, Section, fingerprint, load_config, parse_config, plain
from alia_ray.config.arms import ARMS, BASE
from alia_ray.config.identity import LATER
from alia_ray.llm.discover import domain_rows
from alia_ray.models.methods import edit_parameters
from alia_ray.stages.caption import captions_table
from alia_ray.stages.ingest import images_table
from alia_ray.state import State
from alia_ray.store.tables import EDITS, IMAGES

FROZEN = Path(__file__).parent / "frozen_names.json"
RECIPES = Path(__file__).parent / "frozen"  # as that release had them
PROMPTS = ["a photo of a {} by the sea", "a photo of a {} in a wood"]
ARM_NAMES = ("original", "alia", "cutmix", "real_data")
FOLDER = {"kind": "imagefolder", "path": "photos"}
MODEL = {"name": "some/model", "revision": "v2", "dtype": "float16"}

SOURCES: dict[str, dict[str, Any]] = {
    "imagefolder": FOLDER,
    "imagefolder, fractions": {**FOLDER, "val_fraction": 0.2, "test_fraction": 0.3},
    "imagefolder, s3": {**FOLDER, "path": "s3://bucket/photos"},
    "imagefolder, class names": {**FOLDER, "class_names": {"cat": "tabby cat"}},
    "parquet": {"kind": "parquet", "path": "table", "image_column": "picture", "split_column": None},
    "csv": {"kind": "csv", "path": "list.csv", "root": "photos", "group_column": "place"},
    "miniature": {"kind": "miniature", "train": 32, "task": "places", "seed": 3},
    "cub": {"kind": "cub", "path": "CUB_200_2011", "protocol": "paper"},
    "iwildcam": {"kind": "iwildcam", "path": "train", "lists": "lists"},
    "waterbirds": {"kind": "waterbirds", "path": "waterbirds"},
    "huggingface": {"kind": "huggingface", "name": "some/dataset", "config": "small", "revision": "v1"},
    "webdataset": {"kind": "webdataset", "path": "shards", "label_key": "class"},
}
STAGES: dict[str, dict[str, Any]] = {
    "img2img": {"edit": {"method": "img2img", "model": MODEL, "strength": 0.4}},
    "instruct_pix2pix": {"edit": {"method": "instruct_pix2pix", "image_guidance_scale": 1.5, "format": "webp"}},
    "controlnet": {"edit": {"method": "controlnet", "controlnet": MODEL, "canny_thresholds": [50, 150]}},
    "text_to_image": {"edit": {"method": "text_to_image", "preset": "lcm", "size": 256}},
    "captions": {"caption": {"model": MODEL, "prefix": "a photo of", "max_new_tokens": 30, "batch_size": 4}},
    "llm": {"llm": {"model": MODEL, "max_model_len": 4096, "options": {"quantization": "awq"}}},
    "llm, how fast": {"llm": {"gpus": 4, "options": {"gpu_memory_utilization": 0.8}, "request_timeout_s": 9}},
    "llm, a server": {"llm": {"base_url": "http://host:8000/v1"}, "discover": {"temperature": 0.5}},
    "prompts": {"discover": {"prompts": PROMPTS}},
    "judge": {"judge": {"model": MODEL, "negatives": ["a drawing"], "safety_checker": MODEL}},
    "train": {"train": {"weights": "none", "crop": {"height": 9, "width": 9}, "batch_size": 8, "workers": 2}},
    "train, a folder": {"train": {"weights": "old/classifiers/a", "epochs": 3, "seed": 4, "trackers": ["mlflow"]}},
}
CONFIGURATIONS = [*(f"source: {name}" for name in SOURCES), *(f"stages: {name}" for name in STAGES)]
FILES = sorted(RECIPES.glob("*.yaml"))
EVERY = [*CONFIGURATIONS, *(f"file: {path.name}" for path in FILES)]


def settings_of(configuration: str, folder: Path) -> Config:
    """A configuration by its name here."""
    kind, _, name = configuration.partition(": ")
    if kind == "file":
        return load_config(next(path for path in FILES if path.name == name), [f"run.folder={folder}"])
    sections = {"source": SOURCES[name]} if kind == "source" else {"source": FOLDER, **STAGES[name]}
    return parse_config({"run": {"folder": str(folder)}, **sections})


def filled(settings: Config) -> State:
    """A run folder with two classes, a picture of each split, captions, domains, and every edit, all good."""
    state = State(settings)
    splits = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "extra"}
    images = [
        {
            "image_id": key,
            "split": split,
            "label": ("cat", "dog")[key == "b"],
            "width": 64,
            "height": 48 + 16 * (key == "a"),
        }
        for key, split in splits.items()
    ]
    state.images.commit(pa.Table.from_pylist(images, schema=IMAGES))
    captions = captions_table(settings)
    captions.commit(pa.table([["a", "b"], ["a cat by the sea", "a dog in a wood"]], schema=captions.schema))
    domains = domain_rows(PROMPTS, [], settings.discover.prefix, 0)
    state.domains_table().commit(pa.Table.from_pylist(domains, schema=state.domains_table().schema))
    state.folder.write_json({"cat": 0.4, "dog": 0.4}, *state.arm_path(BASE), "thresholds.json")
    scores = {"semantic_text": "a photo", "confidence": 0.5, "label_probability": 0.5, "label_rank": 1}
    edits = [
        {
            **request,
            **scores,
            "predicted_label": request["label"],
            "class_probabilities": [0.5, 0.5],
            "image_bytes": 9,
        }
        for request in requested(state, "discovered")
    ]
    state.edits.commit(pa.Table.from_pylist(edits, schema=EDITS))
    return state


def requested(state: State, edits: str) -> list[dict[str, Any]]:
    """What a set of edits asks for, as rows."""
    from alia_ray.edits.requests import OF_IMAGES, plan_edits, requests_of

    settings, prompts = state.edit_settings(edits), state.prompts_of(edits)
    plan = plan_edits(prompts, settings.edit, settings.run.seed, settings.source.class_names)
    return requests_of(state.images.read(list(OF_IMAGES)), plan).drop_columns("source_image").to_pylist()


def names_of(state: State) -> dict[str, Any]:
    """The names of all that a run folder holds."""
    requests = {edits: requested(state, edits) for edits in ("discovered", "text_to_image")}
    return {
        "images": state.images.fingerprint,
        "captions": captions_table(state.settings).fingerprint,
        "domains": state.domains_table().fingerprint,
        "edits": state.edits.fingerprint,
        "classifiers": {name: state.arm_fingerprint(ARMS[name]) for name in ARM_NAMES},
        "edit ids": {edits: [row["edit_id"] for row in rows] for edits, rows in requests.items()},
        "parameters": {edits: rows[0]["parameters"] for edits, rows in requests.items()},
    }


@pytest.mark.parametrize("configuration", EVERY)
def test_what_a_run_folder_of_the_first_release_holds_keeps_its_name(configuration, tmp_path):
    frozen = json.loads(FROZEN.read_text())[configuration]
    assert names_of(filled(settings_of(configuration, tmp_path))) == frozen


def test_every_configuration_is_frozen():
    frozen = json.loads(FROZEN.read_text())
    assert set(frozen) == set(EVERY)


# -------------------------------------------------------------------- keys of later releases


def with_later_key(section: Section, value: str | None = None) -> Section:
    """The section as a release would have it that adds an optional key."""
    later = create_model(
        type(section).__name__, __base__=type(section), later=(Annotated[str | None, LATER], None)
    )
    return later.model_construct(**dict(section), later=value)


def with_later_keys(settings: Config) -> Config:
    """A configuration of that release: each section, and each model of one, has a new key."""
    changed: dict[str, Any] = {}
    for name, section in settings:
        if isinstance(section, Section):
            models = {key: with_later_key(value) for key, value in section if isinstance(value, Model)}
            changed[name] = with_later_key(section.model_copy(update=models))
    return settings.model_copy(update=changed)


@pytest.mark.parametrize("configuration", EVERY)
def test_a_key_that_a_later_release_adds_gives_nothing_another_name(configuration, tmp_path):
    frozen = json.loads(FROZEN.read_text())[configuration]
    assert names_of(filled(with_later_keys(settings_of(configuration, tmp_path)))) == frozen


@pytest.mark.parametrize("name", ["source", "train", "discover"])
def test_a_later_key_counts_as_soon_as_it_is_set(name, tmp_path):
    settings = settings_of("source: imagefolder", tmp_path)
    old, new = (with_later_key(getattr(settings, name), value) for value in (None, "set"))
    assert fingerprint(getattr(settings, name)) == fingerprint(old) != fingerprint(new)
    model = with_later_key(settings.edit.model, "set")
    edit = settings.edit.model_copy(update={"model": model})
    assert edit_parameters(edit) == {**edit_parameters(settings.edit), "later": "set"}


def test_how_a_store_is_reached_is_in_no_name(tmp_path):
    """Such as the port of a MinIO that has moved."""

    def names(query: str) -> set[str]:
        source = {**FOLDER, "path": f"s3://bucket/photos{query}"}
        folder = f"{tmp_path}"
        sections = {"source": source, "train": {"weights": f"s3://bucket/weights{query}"}}
        settings = parse_config({"run": {"folder": folder}, **sections})
        return {images_table(settings).fingerprint, fingerprint(settings.train)}

    assert (
        names("") == names("?endpoint_override=minio:9000") == names("?endpoint_override=minio:9001&scheme=http")
    )
    frozen = json.loads(FROZEN.read_text())["source: imagefolder, s3"]
    assert frozen["images"] in names("?region=eu-west-1")


def test_a_question_mark_is_part_of_every_text_that_is_no_address():
    assert plain({"a": ["what is this?"], "b": "s3://no/place?x"}) == {
        "a": ["what is this?"],
        "b": "s3://no/place?x",
    }


if __name__ == "__main__":
    written = {}
    for each in EVERY:
        with tempfile.TemporaryDirectory() as temporary:
            written[each] = names_of(filled(settings_of(each, Path(temporary))))
    FROZEN.write_text(json.dumps(written, indent=1) + "\n")
