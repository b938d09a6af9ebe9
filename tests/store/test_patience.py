import errno

import pytest

from alia_ray.store import patience
from alia_ray.store.patience import TRIES, patiently


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """How long was waited, and nobody waits."""
    waited: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", waited.append)
    return waited


class Failing:
    """Fails some times, then gives "content"."""

    def __init__(self, *errors: OSError) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "content"


def test_what_fails_for_a_moment_is_tried_again_after_growing_pauses(pauses):
    act = Failing(*[OSError("AWS Error SLOW_DOWN during GetObject operation")] * (TRIES - 1))
    assert patiently(act) == "content"
    assert len(pauses) == TRIES - 1
    longest = [patience.FIRST_PAUSE_S * 2**number for number in range(TRIES - 1)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert 3 < sum(pauses) < 8  # seconds, after which a store has caught its breath


def test_what_fails_for_long_raises_its_last_error(pauses):
    act = Failing(*(OSError(f"try {number}") for number in range(TRIES + 1)))
    with pytest.raises(OSError, match=f"try {TRIES - 1}"):
        patiently(act)
    assert act.calls == TRIES


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "permission denied"),
        OSError("When reading 'a' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject operation"),
        OSError(errno.ENOSPC, "no space left on device"),
        OSError(errno.ENAMETOOLONG, "file name too long"),
    ],
)
def test_what_will_not_pass_is_not_waited_for(pauses, error):
    act = Failing(error)
    with pytest.raises(OSError, match=str(error.args[-1])):
        patiently(act)
    assert act.calls == 1
    assert not pauses
