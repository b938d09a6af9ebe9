import pytest

from alia_ray.stages import streaming


@pytest.mark.parametrize(
    ("at_most", "batch", "todo", "workers", "rows"),
    [(64, 16, 800, 2, 48), (64, 128, 100_000, 8, 128), (64, 4, 10, 4, 4), (512, 64, 10**6, 2, 512)],
)
def test_a_small_pass_is_committed_in_small_blocks_so_that_its_progress_moves(at_most, batch, todo, workers, rows):
    assert streaming._block_rows(at_most, batch, todo, workers) == rows


@pytest.mark.parametrize(("todo", "blocks"), [(10**5, 1563), (10**6, 3907), (10**7, 19_532)])
def test_a_large_pass_has_larger_blocks_so_that_the_driver_keeps_few_of_them(todo, blocks):
    assert -(-todo // streaming._block_rows(64, 16, todo, workers=64)) <= blocks
