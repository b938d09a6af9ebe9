"""Two logical nodes of 4 CPUs and 4 GPUs that no driver stands behind; prints what a run makes of them as JSON.

A process of its own, since the tests' Ray has one node. Run by test_two_nodes.py.
"""

import contextlib
import io
import json
import os
import sys
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "0,1,2,3"  # what a worker without a GPU must not inherit

from alia_ray.checks import nodes
from alia_ray.checks.doctor import examine
from alia_ray.checks.plan import check_fits
from alia_ray.cluster import devices
from alia_ray.cluster.joining import join
from alia_ray.config import ConfigError, Run, load_config
from alia_ray.errors import StageError
from alia_ray.miniature.recipes import DEMO
from alia_ray.sources import list_images

TOO_MUCH = ["llm.gpus=8", "caption.cpus_per_worker=6", "edit.gpus_per_worker=5", "train.cpus_per_worker=5"]


def sentence(run: Any) -> str:
    """What a call raises for a person, or prints for one."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            run()
        except (ConfigError, StageError) as error:
            return f"{type(error).__name__}: {error}"
    return said.getvalue()


def main(folder: str) -> None:
    """Start the nodes, ask, print."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 4, "num_gpus": 4, "object_store_memory": 10**8}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(**node)
    import ray

    def joined(accelerator: str) -> Any:
        return join(Run(folder="x", address=cluster.address, accelerator=accelerator))

    found: dict[str, Any] = {"gpu": sentence(lambda: joined("gpu")), "auto": sentence(lambda: joined("auto"))}
    found["auto_gpus"], found["cpu_gpus"] = joined("auto").gpus, joined("cpu").gpus
    found["without_a_gpu"] = ray.get(ray.remote(num_gpus=0)(seen).remote())
    found["with_a_gpu"] = ray.get(ray.remote(num_gpus=1)(seen).remote())
    found["doctor"] = [str(each) for each in examine(load_config(DEMO, [f"run.folder={folder}/run"]))]
    missing = load_config(
        DEMO, [f"run.folder={folder}/run", f"train.weights={folder}/gone", "train.trackers=[wandb, mlflow]"]
    )
    found["lacks"] = list(nodes.wrong_things(missing))
    found["left"] = os.listdir(folder)
    os.environ[devices.LOGICAL_GPUS] = "1"
    logical = joined("gpu")
    found["logical"] = [[node.cpus, node.gpus] for node in logical.nodes]
    too_much = load_config(DEMO, [f"run.folder={folder}/run", *TOO_MUCH])
    found["too_much"] = sentence(lambda: check_fits(too_much, logical, list_images(too_much.source)))
    print(json.dumps(found))


def seen() -> list[str]:
    """What a worker has: the cards that it sees, and its device or why it has none."""
    return [os.environ["CUDA_VISIBLE_DEVICES"], sentence(devices.worker_device) or str(devices.worker_device())]


if __name__ == "__main__":
    main(sys.argv[1])
