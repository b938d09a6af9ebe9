"""Which commit of the hub a name stands for, in a cache made by hand."""

import copy
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from huggingface_hub import HfApi, constants

from alia_ray.checks.inputs import listing_of, look_at_inputs
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Caption, Edit, Model, as_yaml, fingerprint, parse_config
from alia_ray.config.source import HuggingFace
from alia_ray.models import revisions
from alia_ray.models.digests import model_version
from alia_ray.models.methods import edit_parameters
from alia_ray.models.revisions import pinned
from alia_ray.sources import read_images
from alia_ray.stages import discover, streaming
from alia_ray.stages.ingest import ingest

OLD, NEW = "a" * 40, "b" * 40
ON_HUB = Model(name="org/name")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the hub with a model whose branch main is at OLD; the hub itself does not answer."""

    def silent(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(HfApi, "repo_info", silent)
    revisions._found.cache_clear()
    for kind, file in (("models", "config.json"), ("datasets", "README.md")):
        for commit in (OLD, NEW):
            folder = tmp_path / f"{kind}--org--name" / "snapshots" / commit
            folder.mkdir(parents=True)
            (folder / file).write_text("{}")
        move(tmp_path, OLD, kind)
    yield tmp_path
    revisions._found.cache_clear()


def move(cache: Path, commit: str, kind: str = "models") -> None:
    """Move the branch main of what is in the cache."""
    refs = cache / f"{kind}--org--name" / "refs"
    refs.mkdir(exist_ok=True)
    (refs / "main").write_text(commit)


def test_every_worker_loads_the_commit_that_the_driver_found(cache):
    [settings] = streaming.worker_of(a_pass(Caption(model=ON_HUB)))[2]
    move(cache, NEW)  # as it may be on another node, or by now
    assert copy.deepcopy(settings).model.revision == OLD  # as pickling, which is how Ray sends it
    assert pinned(Caption(model=ON_HUB)).model.revision == OLD  # later in the same run
    assert pinned(HuggingFace(kind="huggingface", name="org/name")).revision == OLD
    assert pinned(Caption(model=Model(name="hf-hub:org/name", revision=NEW))).model.revision == NEW


def test_a_dataset_is_listed_at_the_commit_that_is_read(cache, monkeypatch):
    loaded = []
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda *_, revision: loaded.append(revision) or 1 / 0)
    source = {"kind": "huggingface", "name": "org/name"}
    settings = parse_config({"run": {"folder": "run"}, "source": source})
    rows = pa.table({"origin": ["train#0"]})
    [reader] = streaming.worker_of(a_pass(settings.source))[2]
    for look in (
        lambda: look_at_inputs(settings),
        lambda: listing_of(settings),
        lambda: ingest(settings, Cluster(cpus=1, gpus=0)),
        lambda: read_images(reader, rows),
    ):
        with pytest.raises(ZeroDivisionError):
            look()
        move(cache, NEW, "datasets")
    assert loaded == [OLD] * 4


def a_pass(*args: object) -> streaming.Pass:
    names = ("stage", "rows", "todo", "worker", "target", "key", "wanted", "batch_size", "run")
    return streaming.Pass(**dict.fromkeys(names), worker_args=args)


def test_names_and_configurations_say_what_was_given(cache):
    for model in (ON_HUB, ON_HUB.model_copy(update={"revision": "main"})):
        edit = Edit(model=model)
        found = copy.deepcopy(pinned(edit))
        assert found.model.revision == OLD
        assert fingerprint(found) == fingerprint(edit)
        assert edit_parameters(found) == edit_parameters(edit)
        assert edit_parameters(found)["revision"] == model.revision
        sections = {"run": {"folder": "run"}, "source": {"kind": "imagefolder", "path": "photos"}}
        settings = parse_config(sections).model_copy(update={"edit": found})
        assert as_yaml(settings) == as_yaml(settings.model_copy(update={"edit": edit}))
        again = found.model_copy(update={"model": pinned(found).model})
        assert fingerprint(again) == fingerprint(edit)


def test_the_hub_is_asked_for_what_is_not_cached_and_silence_changes_nothing(cache, monkeypatch):
    unknown = Caption(model=Model(name="org/other"))
    assert pinned(unknown) == unknown
    revisions._found.cache_clear()
    asked = []

    class Info:
        sha = NEW

    monkeypatch.setattr(HfApi, "repo_info", lambda _, name, **asking: asked.append((name, asking)) or Info)
    assert [pinned(unknown).model.revision for _ in range(2)] == [NEW] * 2
    [(name, asking)] = asked
    assert (name, asking["repo_type"], asking["revision"]) == ("org/other", "model", None)


def test_what_is_not_on_the_hub_or_not_loaded_has_no_commit(cache, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in (str(folder), "miniature:clip", "random:sd15"):
        assert pinned(Caption(model=Model(name=name))).model.revision is None
    assert pinned(Edit(controlnet=ON_HUB)).controlnet.revision is None
    assert pinned(Edit(method="controlnet", controlnet=ON_HUB)).controlnet.revision == OLD
    assert (
        pinned(Edit(method="controlnet", controlnet=ON_HUB, model=Model(name="random:sd15"))).controlnet == ON_HUB
    )


def test_the_language_model_is_served_at_that_commit(cache, monkeypatch):
    served = []
    monkeypatch.setattr(discover, "_host", lambda config: served.append(config.llm.model.revision) or 1 / 0)
    settings = parse_config(
        {
            "run": {"folder": "run"},
            "source": {"kind": "imagefolder", "path": "photos"},
            "llm": {"model": {"name": "org/name"}},
        }
    )
    with pytest.raises(ZeroDivisionError):
        discover.run_discover({"f": ["a cat"]}, ["cat"], settings)
    assert served == [OLD]


def test_a_version_is_a_commit_or_a_digest_of_what_is_loaded(cache, tmp_path):
    assert model_version(ON_HUB) == f"commit {OLD[:12]}"
    assert model_version(Model(name="org/other")) == "a commit that is not known"
    assert model_version(Model(name="random:sd15")) == "random weights"
    versions = [
        model_version(Model(name=name)) for name in ("miniature:clip", "miniature:img2img", "miniature:clip")
    ]
    assert versions[0] == versions[2] != versions[1]
    folder = tmp_path / "sharded" / "unet"
    folder.mkdir(parents=True)
    large = folder / "model.safetensors"
    seen = set()
    for first, last in ((b"a", b"a"), (b"b", b"a"), (b"a", b"b")):
        large.write_bytes(first + bytes(2**21 + 10) + last)
        seen.add(model_version(Model(name=str(folder.parent))))
    assert len(seen) == 3
    (folder.parent / ".cache").mkdir()
    (folder.parent / ".cache" / "times.json").write_text("1")
    assert model_version(Model(name=str(folder.parent))) in seen
