"""What names in prompts change of a run folder: the prompts that may be discovered, and nothing else."""

from pathlib import Path

import pyarrow as pa
import pytest

from alia_ray.config import load_config, parse_config
from alia_ray.llm.discover import Discovery, domain_rows
from alia_ray.miniature.recipes import DEMO
from alia_ray.pipeline import discover_all
from alia_ray.stages.caption import captions_table
from alia_ray.stages.ingest import images_table
from alia_ray.state import State
from alia_ray.store.tables import IMAGES

RECIPES = Path(__file__).parent.parent / "alia_ray" / "recipes"
LONG = "a photo of a {} " + "on a branch of a tree " * 20


def state(folder: Path, **source: object) -> State:
    """A run that has come as far as its captions."""
    source = {"kind": "imagefolder", "path": "photos", **source}
    settings = {"run": {"folder": str(folder)}, "source": source, "llm": {"model": {"name": "some-llm"}}}
    state = State(parse_config(settings))
    kinds = {"a": "7", "b": "cat"}
    rows = [{"image_id": n, "split": "train", "label": label, "group": label} for n, label in kinds.items()]
    state.images.commit(pa.Table.from_pylist(rows, schema=IMAGES))
    captions = captions_table(state.settings)
    said = [{"image_id": n, "caption": "a seal on a beach"} for n in kinds]
    captions.commit(pa.Table.from_pylist(said, schema=captions.schema))
    return state


@pytest.mark.parametrize(
    ("path", "fingerprint"),
    [
        (DEMO, "cf2f85046684"),
        (RECIPES / "cub.yaml", "3c99e8d5180f"),
        (RECIPES / "imagefolder.yaml", "a226caf61021"),
        (RECIPES / "iwildcam.yaml", "e718ec0a0a98"),
        (RECIPES / "waterbirds.yaml", "21c4542a7ed2"),
    ],
    ids=lambda value: Path(value).stem,
)
def test_run_folders_of_earlier_releases_keep_their_images_whatever_classes_are_called(path, fingerprint):
    assert images_table(load_config(path)).fingerprint == fingerprint
    assert images_table(load_config(path, ["source.class_names={a: ape}"])).fingerprint == fingerprint


def test_run_folders_of_earlier_releases_keep_their_domains(tmp_path):
    assert state(tmp_path).domains_table().fingerprint == "463c2b7eaba1"


def test_run_folders_of_earlier_releases_keep_the_domains_of_captions_in_any_script(tmp_path):
    found = state(tmp_path)
    said = ['a "seal" on a beach\n', "ein Seehund am Strand – schön", "海滩上的海豹 🦭", "a seal on a beach", ""]
    heard = [{"image_id": f"more {n}", "caption": caption} for n, caption in enumerate(said)]
    images = [{"image_id": row["image_id"], "split": "train", "label": "7"} for row in heard]
    found.images.commit(pa.Table.from_pylist(images, schema=IMAGES))
    captions = captions_table(found.settings)
    captions.commit(pa.Table.from_pylist(heard, schema=captions.schema))
    assert State(found.settings).domains_table().fingerprint == "4b9e9892a3f7"
    seeded = found.settings.run.model_copy(update={"seed": 3})
    assert State(found.settings.model_copy(update={"run": seeded})).domains_table().fingerprint == "d8d1796b1083"


def test_names_count_where_prompts_are_discovered(tmp_path):
    plain = state(tmp_path / "plain").domains_table().fingerprint
    assert state(tmp_path / "named", class_names={"7": "seal"}).domains_table().fingerprint != plain
    assert state(tmp_path / "other", class_names={"elsewhere": "seal"}).domains_table().fingerprint == plain


def test_the_seed_counts_where_captions_are_drawn_and_read_by_a_language_model(tmp_path):
    asked, given = state(tmp_path), state(tmp_path)
    prompts = given.settings.discover.model_copy(update={"prompts": ["a photo of a {} at sea"]})
    given = State(given.settings.model_copy(update={"discover": prompts}))

    def names(of: State) -> list[str]:
        runs = [of.settings.run.model_copy(update={"seed": seed}) for seed in (0, 1, 2)]
        return [State(of.settings.model_copy(update={"run": run})).domains_table().fingerprint for run in runs]

    assert len(set(names(asked))) == 3
    assert len(set(names(given))) == 1


def test_discovered_prompts_may_name_a_class_by_neither_its_label_nor_its_name(tmp_path, monkeypatch, capsys):
    asked = []

    def run_discover(captions, class_names, settings):
        asked.extend(class_names)
        return [Discovery(domain_rows([LONG], each, "a photo of a {}", 2), []) for each in captions.values()]

    monkeypatch.setattr("alia_ray.pipeline.run_discover", run_discover)
    discover_all([state(tmp_path, class_names={"7": "grey seal"})])
    assert set(asked) == {"7", "cat", "grey seal"}
    [line] = [line for line in capsys.readouterr().err.splitlines() if "its end would be lost" in line]
    assert line.startswith("discover: ")
    assert "grey seal" in line
