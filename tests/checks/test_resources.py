from alia_ray.checks.resources import wrong_things
from alia_ray.cluster.memory import uncounted
from alia_ray.cluster.placement import GB, Cluster, Node
from alia_ray.config import load_config
from alia_ray.miniature.recipes import DEMO

SMALL = Cluster.of((Node(cpus=4, memory=4 * GB),))


def test_the_model_of_text_to_image_is_counted_where_an_arm_takes_it():
    model = "baselines.text_to_image.model.name=random:sd15"
    without = load_config(DEMO, [model])
    assert not list(wrong_things(without, SMALL, images=100))
    [sentence] = wrong_things(
        load_config(DEMO, [model, "train.arms=[original, text_to_image]"]), SMALL, images=100
    )
    assert "of memory, and no node has more than 4.0 GB free" in sentence


def test_a_baseline_s_model_of_unknown_size_is_named():
    unknown = "baselines.text_to_image.model.name=ORG/nobody-has-this"
    settings = load_config(DEMO, [unknown, "train.arms=[original, text_to_image]"])
    assert list(uncounted(settings)) == ["baselines.text_to_image.model=ORG/nobody-has-this"]
    assert not list(uncounted(load_config(DEMO, [unknown])))
