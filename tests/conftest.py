"""What tests share: an empty working directory, one small local Ray for the session, and passes that need none."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import pytest

# Every Ray that a test starts asks for this token, wherever it listens; else Ray leaves one in the home folder.
SECRETS = {
    name: secrets.token_hex(32)
    for name in ("RAY_AUTH_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY")
}
"""What no run may keep."""
os.environ |= {"RAY_AUTH_MODE": "token", **SECRETS}
os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"  # else Ray Train sees that a training has ended 2 s later


@pytest.fixture(scope="session")
def nowhere(tmp_path_factory) -> Iterator[Path]:
    """An empty folder to work in: what lies in the checkout, such as runs of its demo, is not what tests see."""
    folder = tmp_path_factory.mktemp("nowhere")
    with chdir(folder):
        yield folder


@pytest.fixture(autouse=True)
def leaves_nothing_behind(nowhere: Path) -> Iterator[None]:
    """A test that writes to the working directory fails: it names a folder of its own, or moves to one."""
    yield
    left = list(nowhere.iterdir())
    for path in left:  # or the tests after it would fail too
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not left


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory) -> Iterator[None]:
    """Ray on this machine, with three logical CPUs whatever it has, and whatever other Ray runs here."""
    os.environ["HF_DATASETS_CACHE"] = str(
        tmp_path_factory.mktemp("datasets")
    )  # of workers; else in the home folder
    import ray

    from alia_ray.cluster import joining  # noqa: F401, what it sets for Ray

    ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level="WARNING")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def finished(ray_cluster, tmp_path_factory) -> Path:
    """The folder of a whole run of `a_run.small`. Who changes it makes a copy of it first."""
    from a_run import run_it

    folder = tmp_path_factory.mktemp("run") / "demo"
    run_it(folder)
    return folder


@pytest.fixture(scope="session")
def secrets_of_the_environment() -> list[str]:
    """The secrets that all processes of the tests have in their environment."""
    return list(SECRETS.values())


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Passes run here, and there is no Ray."""
    import ray
    from in_process import passes_here

    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr("alia_ray.stages.merging.ray", SimpleNamespace(is_initialized=lambda: False))
    with passes_here():
        yield
