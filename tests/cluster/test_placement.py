import pytest

from alia_ray.cluster.placement import (
    GB,
    Cluster,
    Needs,
    Node,
    Placement,
    check_llm,
    check_trainers,
    place,
    trainings_at_once,
)
from alia_ray.config import ConfigError, Llm, Pool, Train

TWO_NODES = Cluster.of((Node(4, 4), Node(4, 4)))
TWO_CPU_NODES = Cluster.of((Node(4), Node(4)))
HEAD_AND_GPUS = Cluster.of((Node(16, 0), Node(48, 4), Node(48, 4)))


@pytest.mark.parametrize(
    ("pool", "cluster", "expected"),
    [
        (Pool(), Cluster(cpus=3, gpus=0), Placement(2, 1.0, 0.0)),
        (Pool(), Cluster(cpus=64, gpus=8), Placement(8, 1.0, 1.0)),
        (Pool(gpus_per_worker=0.5), Cluster(cpus=64, gpus=2), Placement(4, 1.0, 0.5)),
        (Pool(gpus_per_worker=0.4), Cluster(cpus=64, gpus=2), Placement(4, 1.0, 0.4)),
        (Pool(workers=3), Cluster(cpus=16, gpus=4), Placement(3, 1.0, 1.0)),
        (Pool(cpus_per_worker=2), Cluster(cpus=9, gpus=0), Placement(4, 2.0, 0.0)),
        (Pool(), HEAD_AND_GPUS, Placement(8, 1.0, 1.0)),
    ],
)
def test_a_pool_takes_what_there_is_and_leaves_a_cpu(pool, cluster, expected):
    assert place("edit", pool, cluster) == expected


@pytest.mark.parametrize(
    ("pool", "workers"),
    [
        (Pool(cpus_per_worker=3), 2),  # one a node, and a CPU is left on each
        (Pool(cpus_per_worker=4), 1),  # two would leave none
        (Pool(cpus_per_worker=1), 7),
        (Pool(cpus_per_worker=0.5), 14),
    ],
)
def test_workers_lie_on_nodes_and_not_across_them(pool, workers):
    assert place("edit", pool, TWO_CPU_NODES).workers == workers


def test_a_share_of_a_gpu_lies_on_one_card_of_one_node():
    nodes = Cluster.of((Node(8, 1), Node(8, 1)))
    assert place("edit", Pool(gpus_per_worker=0.4), nodes).workers == 4
    with pytest.raises(ConfigError, match=r"edit\.gpus_per_worker: a worker needs 2 GPUs of one node"):
        place("edit", Pool(gpus_per_worker=2), nodes)


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


@pytest.mark.parametrize(
    ("refuse", "says"),
    [
        (
            lambda: place("caption", Pool(cpus_per_worker=6), TWO_NODES),
            r"caption\.cpus_per_worker: .* 6 CPUs of one",
        ),
        (
            lambda: place("edit", Pool(gpus_per_worker=5), TWO_NODES),
            r"edit\.gpus_per_worker: .* 5 GPUs of one node",
        ),
        (lambda: check_trainers(Train(cpus_per_worker=5), TWO_NODES), r"train\.cpus_per_worker: .* 5 CPUs of one"),
        (lambda: check_llm(Llm(gpus=8), TWO_NODES), r"llm\.gpus: 8 GPUs of one node .* more than 4"),
    ],
)
def test_what_a_cluster_has_in_all_and_no_node_has_is_refused(refuse, says):
    with pytest.raises(ConfigError, match=says):
        refuse()


def test_trainings_are_counted_by_nodes_too():
    train = Train(workers=2, cpus_per_worker=3)
    assert trainings_at_once(train, TWO_CPU_NODES) == 1
    with pytest.raises(ConfigError, match=r"train\.workers: 4 workers .* at most 2 fit"):
        check_trainers(Train(workers=4, cpus_per_worker=3), TWO_CPU_NODES)


# -------------------------------------------------------------------- memory


def test_an_automatic_pool_shrinks_to_the_memory_of_each_node():
    nodes = Cluster.of((Node(8, memory=20 * GB), Node(8, memory=9 * GB)))
    assert place("edit", Pool(), nodes, Needs(memory=7 * GB)) == Placement(3, 1.0, 0.0, memory=7 * GB)


def test_workers_that_do_not_fit_the_memory_are_refused_with_what_they_need_and_what_there_is():
    node = Cluster.of((Node(8, memory=16 * GB),))
    with pytest.raises(ConfigError, match=r"edit\.workers: 3 workers .* 7\.0 GB .* 16\.0 GB; at most 2 fit"):
        place("edit", Pool(workers=3), node, Needs(memory=7 * GB))
    with pytest.raises(
        ConfigError, match=r"edit: a worker needs about 17\.0 GB .* more than 16\.0 GB free; lower"
    ):
        place("edit", Pool(), node, Needs(memory=17 * GB))


def test_a_share_of_a_card_grows_to_what_a_worker_needs_of_it():
    card = Cluster.of((Node(16, 2, gpu_memory=24 * GB),))
    assert place("edit", Pool(gpus_per_worker=0.25), card, Needs(gpu_memory=5 * GB)).workers == 8
    placement = place("edit", Pool(gpus_per_worker=0.25), card, Needs(gpu_memory=11 * GB))
    assert (placement.workers, placement.num_gpus) == (4, 0.5)
    with pytest.raises(ConfigError, match=r"edit: a worker needs about 30\.0 GB of a GPU's memory"):
        place("edit", Pool(), card, Needs(gpu_memory=30 * GB))


def test_trainings_side_by_side_share_the_memory():
    node = Cluster.of((Node(9, memory=10 * GB),))
    assert trainings_at_once(Train(), node) == 8
    assert trainings_at_once(Train(), node, Needs(memory=3 * GB)) == 3
    with pytest.raises(ConfigError, match=r"train: a worker needs about 11\.0 GB .* machine with more$"):
        check_trainers(Train(), node, Needs(memory=11 * GB))


@pytest.mark.parametrize("workers", [1, 2])
def test_trainers_that_only_their_images_keep_from_fitting_may_be_told_to_stream(workers):
    node, train = Cluster.of((Node(2, memory=10 * GB),)), Train(workers=workers, loading="memory")
    with pytest.raises(ConfigError, match=r", or set train\.loading to stream$"):
        check_trainers(train, node, Needs(memory=11 * GB / workers))
    with pytest.raises(ConfigError, match=r"or train\.cpus_per_worker$"):
        check_trainers(train.model_copy(update={"workers": 4}), node, Needs())
