"""What tests share: one small local Ray for the whole session."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory) -> Iterator[None]:
    """Ray on this machine, with three logical CPUs whatever it has, and whatever other Ray runs here."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # else Ray writes a token into the home directory
    os.environ["HF_DATASETS_CACHE"] = str(tmp_path_factory.mktemp("datasets"))  # of workers; else there as well
    import ray

    from alia_ray.cluster import joining  # noqa: F401, what it sets for Ray

    ray.init(address="local", num_cpus=3, include_dashboard=False, logging_level="WARNING")
    yield
    ray.shutdown()
