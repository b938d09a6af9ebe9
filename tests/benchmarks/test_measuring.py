"""What the benchmarks of models count and time."""

from collections.abc import Callable

import measuring
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

CPU = torch.device("cpu")


def test_attention_is_counted():
    query = torch.randn(2, 4, 64, 8)
    assert measuring.flops_of(lambda: scaled_dot_product_attention(query, query, query)) == 2 * 2 * (
        2 * 4 * 64 * 64 * 8
    )


@pytest.fixture
def network():
    """Compiled by a backend that counts its graphs and leaves them as they are."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.graphs = torch.nn.Linear(8, 8), 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(images).relu()

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        network.graphs += 1
        return graph.forward

    network = Network()
    network.compile(backend=backend, dynamic=False)
    yield network
    torch.compiler.reset()


def test_what_is_to_be_compiled_is_compiled_before_it_is_timed_and_counted_all_the_same(network):
    images, before = torch.randn(4, 8), measuring.graphs_compiled()
    calls = []

    def run() -> None:
        calls.append(network.graphs)
        network(images)

    row = measuring._measured(measuring.Loop("ours", 4, run, 4), CPU, peak=1e9, repeats=3)
    assert network.graphs == 1
    assert measuring.graphs_compiled() == before + 1
    assert calls == [0, *[1] * (measuring.WARM_UPS - 1 + 3 + 1)]
    assert row["tflop_per_image"] == pytest.approx(2 * 8 * 8 / 1e12)
