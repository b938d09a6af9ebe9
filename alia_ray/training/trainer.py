"""Ray Train's trainer, without a helper that waits for a dashboard where there is none."""

from ray._private.worker import get_dashboard_url
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback


class Trainer(TorchTrainer):
    """A TorchTrainer that ends as soon as its workers have.

    Ray Train has an actor that gives resources back should the controller die. It asks the dashboard whether the
    controller lives: without one, as on a machine of its own, it does nothing and holds up the end of every
    training for twelve seconds.
    """

    def _create_default_callbacks(self) -> list[object]:
        callbacks = super()._create_default_callbacks()
        if get_dashboard_url():
            return callbacks
        return [each for each in callbacks if not isinstance(each, PlacementGroupCleanerCallback)]
