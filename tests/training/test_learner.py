"""The state of a training in several workers: the first one's, whatever the others see of the run folder."""

from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from alia_ray.store.run_folder import RunFolder
from alia_ray.training.learner import Learner, first_decides, restore, save

CPU = torch.device("cpu")


def learner() -> Learner:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Learner(model, optimiser, torch.amp.GradScaler("cpu", enabled=True), CPU)


def step(trained: Learner, seed: int) -> None:
    torch.manual_seed(seed)
    trained.optimiser.zero_grad()
    trained.model(torch.randn(8, 3, 8, 8)).square().mean().backward()
    trained.optimiser.step()


def state_of(trained: Learner) -> dict[str, torch.Tensor]:
    momentum = [trained.optimiser.state[each]["momentum_buffer"] for each in trained.bare.parameters()]
    scale = trained.scaler.state_dict()
    return {
        **trained.bare.state_dict(),
        **{f"momentum{number}": value for number, value in enumerate(momentum)},
        "scale": torch.tensor([scale["scale"], scale["_growth_tracker"]]),
    }


def as_a_rank(rank: int, folder: str) -> None:
    """Rank 0 sees the checkpoint of epoch 2, rank 1 that of epoch 1, rank 2 none."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=3)
    found = learner()
    done, history = restore(found, RunFolder(f"{folder}/seen-by-{rank}"))
    finished = first_decides(lambda: rank == 0, CPU)
    torch.save({**state_of(found), "said": torch.tensor([done, finished, len(history)])}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_that_see_other_moments_of_the_folder_go_on_from_the_first_one_s(tmp_path: Path):
    trained, history = learner(), []
    for rank in (1, 0):
        step(trained, seed=rank)
        trained.scaler.load_state_dict(
            {**trained.scaler.state_dict(), "scale": 2.0 ** (9 - rank), "_growth_tracker": 7}
        )
        history.append({"epoch": len(history) + 1, "val_accuracy": 0.5})
        save(trained, RunFolder(str(tmp_path / f"seen-by-{rank}")), history, "val_accuracy")
    torch.multiprocessing.spawn(as_a_rank, (str(tmp_path),), nprocs=3)
    for rank in range(3):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.pop("said").tolist() == [2, 1, 2 if rank == 0 else 0]
        for name, value in state_of(trained).items():
            assert torch.equal(found[name], value), (rank, name)
