"""The checkpoints of a training, on any filesystem: after every epoch the last one and the best one are there.

    OUT/checkpoints/000012.safetensors   weights and momentum after epoch 12
    OUT/checkpoints/state.json           the records of all epochs; written after the tensors it speaks of

So whatever dies at whatever moment, `state.json` and the tensors of its last and best epoch belong together.
"""

import posixpath
from typing import Any

import pyarrow.fs as pafs
import safetensors.torch
import torch

from alia_ray.store.damage import damage_of_tensors, put_aside
from alia_ray.store.run_folder import RunFolder

CHECKPOINTS, _STATE, _TENSORS = "checkpoints", "state.json", ".safetensors"

Tensors = dict[str, torch.Tensor]


def best_epoch(history: list[dict[str, Any]], score: str) -> int:
    """The epoch whose record has the highest `score`; of equal ones the latest."""
    return max(history, key=lambda record: (record[score], record["epoch"]))["epoch"]


def save_checkpoint(folder: RunFolder, tensors: Tensors, state: dict[str, Any], score: str) -> None:
    """Keep the tensors after the last and the best epoch of `state["history"]`, and drop the others.

    What was put aside stays until the training ends, as the person was told.
    """
    history = state["history"]
    on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    folder.write_bytes(safetensors.torch.save(on_cpu), CHECKPOINTS, _tensors_of(len(history)))
    folder.write_json(state, CHECKPOINTS, _STATE)
    needed = {_tensors_of(len(history)), _tensors_of(best_epoch(history, score)), _STATE}
    for info in folder.fs.get_file_info(pafs.FileSelector(folder.file(CHECKPOINTS))):
        if info.base_name not in needed and not info.base_name.startswith("_"):
            folder.fs.delete_file(info.path)


def last_state(folder: RunFolder) -> dict[str, Any] | None:
    """What was saved with the last checkpoint; None before the first one."""
    return folder.read_json(CHECKPOINTS, _STATE, keys=("history",))


def resumable_state(folder: RunFolder) -> dict[str, Any] | None:
    """`last_state`, unless any tensors beside it are damaged: all is put aside then, to begin anew."""
    state = last_state(folder)
    if state is None:
        return None
    found = folder.fs.get_file_info(pafs.FileSelector(folder.file(CHECKPOINTS)))
    paths = [
        info.path
        for info in found
        if posixpath.basename(info.path)[0] not in "._" and info.path.endswith(_TENSORS)
    ]
    damage = {path: damage_of_tensors(folder.fs, path) for path in paths}
    if not any(damage.values()):
        return state
    put_aside(folder.fs, folder.file(CHECKPOINTS, _STATE), "its tensors are")
    for path, why in damage.items():
        if why is not None:
            put_aside(folder.fs, path, why)
    return None


def tensors_after(folder: RunFolder, epoch: int) -> Tensors:
    """The tensors of the last or the best epoch."""
    return safetensors.torch.load(folder.read_bytes(CHECKPOINTS, _tensors_of(epoch)))


def drop_checkpoints(folder: RunFolder) -> None:
    """Delete them all; harmless where there are none."""
    if folder.fs.get_file_info(folder.file(CHECKPOINTS)).type == pafs.FileType.Directory:
        folder.fs.delete_dir(folder.file(CHECKPOINTS))


def _tensors_of(epoch: int) -> str:
    return f"{epoch:06d}{_TENSORS}"
