import pytest

from alia_ray.cluster.placement import Cluster, Placement, place
from alia_ray.config import ConfigError, Pool


@pytest.mark.parametrize(
    ("pool", "cluster", "expected"),
    [
        (Pool(), Cluster(cpus=3, gpus=0), Placement(2, 1.0, 0.0)),
        (Pool(), Cluster(cpus=64, gpus=8), Placement(8, 1.0, 1.0)),
        (Pool(gpus_per_worker=0.5), Cluster(cpus=64, gpus=2), Placement(4, 1.0, 0.5)),
        (Pool(gpus_per_worker=0.4), Cluster(cpus=64, gpus=2), Placement(4, 1.0, 0.4)),
        (Pool(workers=3), Cluster(cpus=16, gpus=4), Placement(3, 1.0, 1.0)),
        (Pool(cpus_per_worker=2), Cluster(cpus=9, gpus=0), Placement(4, 2.0, 0.0)),
    ],
)
def test_a_pool_takes_what_there_is_and_leaves_a_cpu(pool, cluster, expected):
    assert place("edit", pool, cluster) == expected


@pytest.mark.parametrize(
    ("pool", "cluster"),
    [
        (Pool(workers=9), Cluster(cpus=64, gpus=8)),
        (Pool(workers=4), Cluster(cpus=4, gpus=8)),
        (Pool(cpus_per_worker=4), Cluster(cpus=4, gpus=0)),
    ],
)
def test_a_pool_that_can_never_be_scheduled_is_refused(pool, cluster):
    with pytest.raises(ConfigError, match=r"edit\.workers"):
        place("edit", pool, cluster)
