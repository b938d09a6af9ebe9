import pytest

from alia_ray.checks import paths
from alia_ray.config import parse_config


def wrong(tree: dict | None = None, **run) -> list[str]:
    given = {"run": {"folder": "runs/x", **run}, "source": {"kind": "miniature"}, **(tree or {})}
    return list(paths.wrong_things(parse_config(given)))


def test_relative_paths_are_fine_where_ray_is_started_here(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert wrong() == []
    assert wrong(address="local") == []


def test_every_relative_path_is_refused_on_a_cluster_with_its_key(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    source = {"kind": "csv", "path": "meta.csv", "root": "/shared/photos"}
    said = wrong({"source": source, "edit": {"model": {"name": "./editor"}}})
    assert [sentence.split(":")[0] for sentence in said] == ["run.folder", "source.path", "edit.model.name"]
    assert all("an absolute path on storage that all nodes share, or a URI" in sentence for sentence in said)
    assert wrong(folder="/shared/runs") == wrong(folder="~/runs") == wrong(folder="file:///shared/runs") == []


def test_run_address_joins_a_cluster_as_well(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert wrong(address="ray://head:10001")[0].startswith(
        "run.folder: runs/x is relative to the folder of the driver"
    )


def test_the_folder_of_a_submitted_job_is_a_copy_that_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    copied = tmp_path / "ray/session_1/runtime_resources/working_dir_files/_ray_pkg_1"
    copied.mkdir(parents=True)
    monkeypatch.chdir(copied)
    assert "the folder of a submitted job" in wrong()[0]


@pytest.mark.parametrize("uri", ["s3:///x", "file://host/x", "gs://b/x?nonsense=1", "s3://b/a b"])
def test_a_uri_that_cannot_be_opened_is_a_sentence_with_its_key(uri):
    [sentence] = wrong(folder=uri)
    assert sentence.startswith("run.folder: cannot open ")
    assert "\n" not in sentence


@pytest.mark.parametrize("folder", ["taken", "taken/runs/x"])
def test_a_run_folder_where_a_file_lies_is_refused(tmp_path, folder):
    (tmp_path / "taken").touch()
    [sentence] = wrong(folder=str(tmp_path / folder))
    assert sentence == f"run.folder: {tmp_path}/taken is a file; name another folder"


def test_a_run_folder_whose_storage_does_not_answer_is_refused(monkeypatch):
    class Silent:
        type_name = "s3"

        def get_file_info(self, paths: list[str]) -> None:
            raise OSError("AWS Error\nNETWORK_CONNECTION")

    monkeypatch.setattr(paths, "filesystem", lambda place: (Silent(), "bucket/x"))
    [sentence] = wrong(folder="s3://bucket/x?endpoint_override=minio:9000")
    assert sentence == "run.folder: s3://bucket/x cannot be reached: AWS Error NETWORK_CONNECTION"


@pytest.mark.parametrize("folder", ["", "runs/x"])
def test_a_run_folder_in_which_this_user_may_not_write_is_refused(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(
        paths.os, "access", lambda path, how: path != str(tmp_path)
    )  # root may, whatever a mode says
    [sentence] = wrong(folder=str(tmp_path / folder))
    assert sentence.startswith(f"run.folder: this user may not write in {tmp_path}; ")
    assert wrong(folder=str(tmp_path.parent)) == []
