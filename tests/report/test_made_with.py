from types import SimpleNamespace

import pytest

from alia_ray.report import made_with


@pytest.mark.parametrize(
    ("rows", "training", "said"),
    [
        ("a CPU", "CPUs", ["CPU"]),
        ("NVIDIA H100 80GB HBM3", "GPUs", ["GPUs for training", "NVIDIA H100 80GB HBM3"]),
        ("NVIDIA L4", "CPUs", ["CPU", "NVIDIA L4"]),
    ],
)
def test_devices_are_said_in_plain_words_and_once(monkeypatch, rows, training, said):
    monkeypatch.setattr(made_with, "_tables", lambda state: [(rows, ()), (rows, ())])
    monkeypatch.setattr(made_with, "_classifiers", lambda state: {"alia": training})
    monkeypatch.setattr(made_with, "records", lambda place: [{"device": place}, {}])
    assert made_with.devices_of(SimpleNamespace()) == said
