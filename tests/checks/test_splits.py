"""What is refused, and what is said, of splits, classes, groups and files, before anything is paid for."""

from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from alia_ray import pipeline, sources
from alia_ray.checks.comparison import arms_of, draws
from alia_ray.checks.inputs import STAGES, check_ingested, check_inputs
from alia_ray.checks.inputs import doubtful_things as what_is_said
from alia_ray.checks.plan import describe
from alia_ray.checks.splits import doubtful_things
from alia_ray.cluster.placement import Cluster
from alia_ray.config import Config, ConfigError, load_config
from alia_ray.miniature.recipes import DEMO
from alia_ray.sources import list_images
from alia_ray.stages.ingest import images_table
from alia_ray.state import State
from alia_ray.store.tables import IMAGES


def folder_of(root: Path, **images: int) -> Path:
    """Pictures as train__cat=3 says: three in train/cat."""
    for place, count in images.items():
        folder = root.joinpath(*place.split("__"))
        folder.mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    return root


def photos(root: Path, *overrides: str) -> Config:
    """The demo's models on a folder of pictures."""
    source = f"source={{kind: imagefolder, path: '{root}'}}"
    return load_config(DEMO, [f"run.folder={root.parent / 'run'}", source, *overrides])


def table(root: Path, rows: str, *overrides: str) -> Config:
    """The demo's models on a CSV beside a folder of pictures."""
    (root / "meta.csv").write_text(rows)
    source = f"source={{kind: csv, path: '{root / 'meta.csv'}', root: '{root}', group_column: place}}"
    return load_config(DEMO, [f"run.folder={root / 'run'}", source, *overrides])


def refusals(settings: Config, *stages: str) -> list[str]:
    """The sentences with which a run, or some of its stages, is refused."""
    try:
        check_inputs(settings, stages) if stages else check_inputs(settings)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_a_source_with_val_and_no_test_is_refused_with_a_way_that_works(tmp_path):
    root = folder_of(tmp_path / "photos", train__cat=4, train__dog=4, val__cat=2, val__dog=2)
    [sentence] = refusals(photos(root))
    assert "'test'" in sentence
    assert "rename val to test" in sentence
    (root / "val").rename(root / "test")
    assert refusals(photos(root)) == []


def test_a_split_is_asked_for_by_the_stages_that_need_it(tmp_path):
    settings = photos(folder_of(tmp_path / "photos", train__cat=4, train__dog=4), "source.val_fraction=0")
    assert refusals(settings, "ingest") == []
    [sentence] = refusals(settings)
    assert "source.val_fraction" in sentence
    assert refusals(photos(tmp_path / "photos", "source.val_fraction=0.2")) == []


@pytest.mark.parametrize(("count", "splits"), [(1, "val and test"), (2, "val")])
def test_classes_too_small_to_be_shared_out_are_refused_with_what_they_have_and_need(count, splits, tmp_path):
    [sentence] = refusals(photos(folder_of(tmp_path / "photos", cat=count, dog=count)))
    images = f"{count} image{'s' * (count > 1)}"
    assert sentence.startswith(
        f"source: no image is left for {splits}: 'cat' has {images}, 'dog' has {images}, and"
    )
    assert sentence.endswith(
        "a class needs 3 at least, one each for train, val, test; add some, or leave the class out"
    )


def test_one_class_that_is_too_small_is_said_once(tmp_path):
    settings = photos(folder_of(tmp_path / "photos", cat=60, dog=60, eel=1))
    [said] = doubtful_things(settings, list_images(settings.source))
    assert said.startswith("'eel' has 1 image, and a class needs 3 at least")


def test_one_class_is_refused_before_it_is_trained_on(tmp_path):
    [sentence] = refusals(photos(folder_of(tmp_path / "photos", cat=12)))
    assert "train has one class, 'cat'" in sentence


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_that_training_never_sees_is_refused_with_an_example(tmp_path, split):
    images = {f"{part}__{name}": 2 for part in ("train", "val", "test") for name in ("cat", "dog")}
    [sentence] = refusals(photos(folder_of(tmp_path / "photos", **images, **{f"{split}__emu": 1})))
    assert f"'emu' ({split}/emu/0.png)" in sentence


def test_a_class_of_extra_alone_is_refused_where_extra_is_trained_on(tmp_path):
    images = {f"{part}__{name}": 2 for part in ("train", "val", "test", "extra") for name in ("cat", "dog")}
    root = folder_of(tmp_path / "photos", **images, extra__emu=1)
    assert refusals(photos(root)) == []
    [sentence] = refusals(photos(root, "train.arms=[original, real_data]"))
    assert "'emu' (extra/emu/0.png)" in sentence


def test_images_without_labels_are_refused_where_ingest_would_fail_for_them(tmp_path):
    root = folder_of(tmp_path / "photos", cat=12, dog=12)
    folder_of(root, lone__=0)
    Image.new("RGB", (8, 8)).save(root / "flat.png")
    assert refusals(photos(root)) == []
    assert "'flat.png'" in refusals(photos(root, "run.max_error_rate=0.01"))[0]


def test_groups_that_are_nowhere_are_refused_and_some_that_lack_are_said(tmp_path):
    folder_of(tmp_path, cat=40, dog=40)
    rows = [f"{name}/{number}.png,{name},{{}}" for name in ("cat", "dog") for number in range(40)]
    none = table(tmp_path, "path,label,place\n" + "\n".join(row.format("") for row in rows))
    [sentence] = refusals(none)
    assert sentence.startswith("source.group_column: ")
    half = [row.format("sea" if place % 2 else "") for place, row in enumerate(rows)]
    some = table(tmp_path, "path,label,place\n" + "\n".join(half))
    assert refusals(some) == []
    listing = list_images(some.source)
    lacking = sum(row["split"] == "test" and not row["group"] for row in listing.to_pylist())
    assert any(
        said.startswith(f"{lacking} images of test have no group") for said in doubtful_things(some, listing)
    )


def test_what_is_shared_out_among_too_few_is_refused(tmp_path):
    root = folder_of(tmp_path / "photos", cat=5, dog=5)
    [sentence] = refusals(photos(root, "train.workers=16"))
    assert sentence == "train.workers: 6 training images for 16 workers; lower it"
    [sentence] = refusals(photos(root, "select={num_extra: 1, class_balanced: true}"))
    assert sentence.startswith("select.num_extra: 1 edits for 2 classes give none to each")


def test_the_rule_top_k_is_refused_where_it_can_call_nothing_mislabelled(tmp_path):
    root = folder_of(tmp_path / "photos", cat=40, dog=40)
    rule = ("judge.filters=[mislabelled]", "judge.confidence_rule=top_k")
    arm = ("train.arms=[original, alia_both_top_k]",)
    for asked in (rule, arm):
        [sentence] = refusals(photos(root, *asked))
        assert sentence.startswith("judge.top_k: every label is among the 2 likeliest of 2 classes")
    assert refusals(photos(root, *arm, "judge.top_k=1")) == []
    compared = photos(root, "experiment={}")
    assert refusals(compared) == []
    assert any(said.startswith("judge.top_k: ") for said in what_is_said(compared, list_images(compared.source)))
    assert not any(
        said.startswith("judge.top_k: ") for said in what_is_said(photos(root), list_images(compared.source))
    )


def test_what_ingest_left_out_may_leave_too_little_for_a_run(tmp_path):
    images = {f"{part}__{name}": 2 for part in ("train", "val", "test") for name in ("cat", "dog")}
    settings = photos(folder_of(tmp_path / "photos", **images))
    ingested(settings)
    check_ingested(settings)
    images_table(settings).discard({"train/dog/0.png", "train/dog/1.png"})
    with pytest.raises(ConfigError, match="train has one class, 'cat'"):
        check_ingested(settings)


def test_a_wrong_root_is_refused_with_the_path_that_was_looked_at(tmp_path):
    root = folder_of(tmp_path / "photos", cat=12, dog=12)
    rows = [f"{name}/{number}.png,{name},{name}" for name in ("cat", "dog") for number in range(12)]
    settings = table(root, "path,label,place\n" + "\n".join(rows))
    assert refusals(settings) == []
    [sentence] = refusals(load_config(DEMO, [*as_overrides(settings), f"source.root={tmp_path}"]))
    assert sentence.startswith("source.root: 20 of 20 files")
    assert str(tmp_path / "cat") in sentence


def as_overrides(settings: Config) -> list[str]:
    return [f"run.folder={settings.run.folder}", f"source={settings.source.model_dump_json(exclude_none=True)}"]


def test_files_that_are_gone_after_ingest_are_not_asked_for(tmp_path):
    root = folder_of(tmp_path / "photos", cat=12, dog=12)
    rows = [f"{name}/{number}.png,{name},{name}" for name in ("cat", "dog") for number in range(12)]
    settings = table(root, "path,label,place\n" + "\n".join(rows))
    ingested(settings)
    (root / "cat").rename(tmp_path / "cat")
    (root / "dog").rename(tmp_path / "dog")
    assert refusals(settings) == []


def test_a_few_missing_files_are_left_to_the_error_rate(tmp_path):
    root = folder_of(tmp_path / "photos", cat=12, dog=12)
    rows = [f"{name}/{number}.png,{name},{name}" for name in ("cat", "dog") for number in range(12)]
    settings = table(root, "path,label,place\n" + "\n".join(rows))
    (root / "cat" / "0.png").unlink()
    assert refusals(settings) == []


def test_a_plan_says_which_classes_a_split_lacks_and_has_few_of(tmp_path):
    root = folder_of(tmp_path / "photos", train__cat=9, train__dog=3, val__cat=9, test__cat=9, test__dog=9)
    plan = describe(photos(root), Cluster(cpus=3, gpus=0))
    assert "note      val has no image of 'dog'" in plan
    assert "note      train has few images of 'dog' (3)" in plan
    assert "note      test" not in plan


def test_a_plan_says_what_listing_found_out(tmp_path):
    root = folder_of(tmp_path / "photos", cat=20, dog=20, eel=0)
    assert "note      no picture lies in 'eel'" in describe(photos(root), Cluster(cpus=3, gpus=0))


def ingested(settings: Config) -> None:
    """What `ingest` leaves of the source, without the pictures."""
    rows = [{**row, "image_id": row["origin"]} for row in list_images(settings.source).to_pylist()]
    images_table(settings).commit(pa.Table.from_pylist(rows, schema=IMAGES))


def test_after_ingest_no_stage_needs_the_source(tmp_path):
    images = {f"{part}__{name}": 2 for part in ("train", "val", "test") for name in ("cat", "dog")}
    settings = photos(folder_of(tmp_path / "photos", **images))
    ingested(settings)
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert refusals(settings) == []
    assert "images    12: 4 train, 4 val, 4 test" in describe(settings, Cluster(cpus=3, gpus=0))
    assert arms_of(settings)
    for stage in STAGES:
        assert refusals(settings, stage) == []


def test_pictures_without_class_folders_are_refused_in_one_sentence(tmp_path):
    [sentence] = refusals(photos(folder_of(tmp_path / "photos", cat=4) / "cat"))
    assert "4 of 4 images have no label" in sentence
    assert "it lies in no class folder below source.path" in sentence


def test_before_ingest_a_source_that_is_gone_is_refused(tmp_path):
    [sentence] = refusals(photos(tmp_path / "photos"))
    assert sentence.startswith("source.path: there is no folder")


def test_a_command_lists_the_source_once(tmp_path, monkeypatch):
    images = {f"{part}__{name}": 2 for part in ("train", "val", "test") for name in ("cat", "dog")}
    settings = photos(folder_of(tmp_path / "photos", **images), "experiment={arms: [alia]}")
    listed, read = [], sources._SOURCES["imagefolder"]
    monkeypatch.setitem(
        sources._SOURCES,
        "imagefolder",
        (lambda source, over: listed.append(source) or read[0](source, over), read[1]),
    )
    listing = check_inputs(settings)
    describe(settings, Cluster(cpus=3, gpus=0), listing)
    assert draws(settings, arms_of(settings, listing), listing)[0].listing is listing
    monkeypatch.setattr(pipeline, "ingest", lambda settings, cluster, listing: handed_on.append(listing))
    handed_on: list[pa.Table] = []
    pipeline.run_ingest(State(settings, listing), Cluster(cpus=3, gpus=0))
    assert handed_on == [listing]
    assert len(listed) == 1
