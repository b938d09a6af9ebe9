"""Who gets what of a cluster where captions are made while the base classifier trains."""

import pytest

from alia_ray.cluster.placement import Cluster, Node
from alia_ray.cluster.sharing import share
from alia_ray.config import Config, parse_config


def settings(**sections: object) -> Config:
    source = {"kind": "imagefolder", "path": "/photos"}
    llm = {"base_url": "http://localhost:8000/v1"}
    return parse_config({"run": {"folder": "/run"}, "source": source, "llm": llm, **sections})


def nodes(count: int, cpus: float, gpus: float = 0.0) -> Cluster:
    return Cluster.of((Node(cpus, gpus),) * count)


@pytest.mark.parametrize("cluster", [nodes(1, 16, 1), nodes(1, 16, 2), nodes(1, 2), nodes(1, 3)])
def test_where_trainers_would_leave_captions_too_little_there_is_no_room(cluster):
    assert share(settings(), cluster, 1, images=100) is None


@pytest.mark.parametrize(
    ("cluster", "trainings", "gpus_left"),
    [(nodes(1, 16, 4), 1, 3), (nodes(8, 32, 8), 1, 63), (nodes(8, 32, 8), 99, 48), (nodes(4, 8, 1), 2, 3)],
)
def test_trainers_take_a_quarter_of_the_gpus_at_most_and_captions_the_rest(cluster, trainings, gpus_left):
    shared = share(settings(), cluster, trainings, images=100)
    assert shared.rest.gpus == gpus_left
    assert shared.trainers.gpus == shared.trainings == cluster.gpus - gpus_left


def test_all_workers_of_a_training_count():
    train = {"workers": 4, "batch_size": 128}
    assert share(settings(train=train), nodes(1, 32, 8), 1, images=100) is None
    assert share(settings(train=train), nodes(2, 32, 8), 1, images=100).rest.gpus == 12


def test_captioners_whose_number_is_given_have_room_or_have_not():
    cluster = nodes(1, 3)
    assert share(settings(caption={"workers": 1}), cluster, 1, images=100).rest.cpus == 2
    assert share(settings(caption={"workers": 2}), cluster, 1, images=100) is None


def test_captioners_that_share_cards_might_leave_no_trainer_a_whole_one():
    assert share(settings(caption={"gpus_per_worker": 0.5}), nodes(2, 32, 8), 1, images=100) is None


def test_without_gpus_trainers_and_captioners_share_cpus():
    shared = share(settings(), nodes(1, 16), 1, images=100)
    assert (shared.rest.cpus, shared.trainers, shared.trainings) == (15, Cluster(1, 0), 1)


def test_the_language_model_finds_its_gpus_on_one_node_wherever_the_trainers_lie():
    def room(cluster: Cluster, gpus: int) -> bool:
        return share(settings(llm={"gpus": gpus}), cluster, 1, images=100) is not None

    assert room(nodes(1, 32, 8), 7)
    assert not room(nodes(1, 32, 8), 8)
    assert room(nodes(2, 32, 8), 8)
