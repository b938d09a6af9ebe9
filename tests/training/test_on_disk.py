"""Decoded images on the disk: those that were written, a few batches in memory, and no file left."""

import os
import threading

import pytest
import torch

from alia_ray.errors import FullDiskError
from alia_ray.training import on_disk
from alia_ray.training.on_disk import AHEAD, OnDisk
from alia_ray.training.placing import Images


def filled(count: int, size: int = 8) -> tuple[OnDisk, torch.Tensor]:
    """Random images, on the disk and in memory; as decoding gives them, not contiguous."""
    kept, images = OnDisk(count, size), torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
    for place, image in enumerate(images.permute(0, 3, 1, 2)):
        kept[place] = image
    return kept, images.permute(0, 3, 1, 2)


def test_what_is_streamed_are_the_batches_of_memory():
    kept, images = filled(40)
    labels = torch.arange(40)
    plan = torch.cat([torch.randperm(40), torch.tensor([3, 3])]).tensor_split(11)
    streamed, held = Images(kept, labels).batches(plan), Images(images, labels).batches(plan)
    for one, other in zip(streamed, held, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert kept.nbytes == images.nbytes
    assert torch.equal(kept.to(torch.device("cpu")), images)


def test_a_few_batches_are_read_ahead_and_no_more(monkeypatch):
    kept, _ = filled(40)
    read, seen = OnDisk.__getitem__, threading.Semaphore(0)
    asked: list[int] = []

    def counted(self: OnDisk, places: torch.Tensor) -> torch.Tensor:
        asked.append(len(places))
        seen.release()
        return read(self, places)

    monkeypatch.setattr(OnDisk, "__getitem__", counted)
    batches = kept.batches(torch.arange(40).split(2))
    for taken in range(1, 4):
        next(batches)
        for _ in range(AHEAD if taken == 1 else 1):  # those that are under way
            assert seen.acquire(timeout=10)
        assert len(asked) == taken + AHEAD - 1
    batches.close()
    assert len(asked) == 3 + AHEAD - 1


def test_the_file_has_no_name_and_goes_with_its_images(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    kept, _ = filled(4)
    assert list(tmp_path.iterdir()) == []
    descriptor = kept._file
    assert os.fstat(descriptor).st_size == kept.nbytes
    del kept
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_disk_that_is_too_small_is_said_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(FullDiskError, match=rf"take \d+\.\d GB, and {tmp_path} of its node .* set TMPDIR"):
        OnDisk(1 << 30, 224)


def test_nothing_is_streamed_of_nothing():
    kept = OnDisk(0, 8)
    assert kept.to(torch.device("cpu")).shape == (0, 3, 8, 8)
    [(pixels, labels)] = Images(kept, torch.zeros(0)).batches(torch.arange(0).split(256))
    assert (pixels.shape, labels.shape) == ((0, 3, 8, 8), (0,))


def test_large_files_go_where_systems_want_them_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(on_disk, "_FOLDER", str(tmp_path))
    assert on_disk.folder() == str(tmp_path)
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert on_disk.folder() == "/elsewhere"
