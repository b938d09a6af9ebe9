import pytest
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from alia_ray.training import trainer


@pytest.mark.parametrize(("dashboard", "has_cleaner"), [("", False), ("127.0.0.1:8265", True)])
def test_nothing_waits_for_a_dashboard_where_there_is_none(monkeypatch, dashboard, has_cleaner):
    monkeypatch.setattr(trainer, "get_dashboard_url", lambda: dashboard)
    callbacks = trainer.Trainer(print)._create_default_callbacks()
    assert any(isinstance(each, PlacementGroupCleanerCallback) for each in callbacks) == has_cleaner
    assert len(callbacks) > 2
