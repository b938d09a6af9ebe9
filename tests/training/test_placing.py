"""Which decoded images go onto a GPU: one budget beside what a step takes."""

import torch

from alia_ray.training.placing import Images, placed, that_fit

GB = 10**9
CARD = 24 * GB


def test_train_and_val_share_one_budget():
    assert that_fit([12 * GB, 6 * GB], free=21 * GB, total=CARD) == [True, True]
    assert that_fit([12 * GB, 6 * GB], free=18 * GB, total=CARD) == [True, False]
    assert that_fit([12 * GB, 6 * GB], free=10 * GB, total=CARD) == [False, True]
    assert that_fit([12 * GB, 6 * GB], free=2 * GB, total=CARD) == [False, False]


def test_a_part_of_the_card_is_left_alone_and_nothing_fits_a_full_one():
    assert that_fit([0.91 * CARD], free=CARD, total=CARD) == [False]
    assert that_fit([0.89 * CARD], free=CARD, total=CARD) == [True]
    assert that_fit([0], free=0, total=CARD) == [False]


def test_on_a_gpu_the_splits_move_that_fit_what_is_free_there(monkeypatch):
    splits = [Images(torch.zeros(n, 3, 8, 8, dtype=torch.uint8), torch.zeros(n)) for n in (4, 2, 1)]
    each = 3 * 8 * 8
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * each, 60 * each))  # so 4 are to be had
    moved = []
    monkeypatch.setattr(Images, "to", lambda self, device: moved.append(len(self.labels)) or self)
    placed(splits, torch.device("cuda"))
    assert moved == [4]
    placed(splits, torch.device("cpu"))
    assert moved == [4]
