"""Decoded images on the disk of the worker's node: read ahead of the device, a few batches at a time.

Any image can be read at any moment, so an epoch has the batches that it has in memory, and the weights are the
same to the last bit. The tables give whole files only, whose pictures would be decoded anew in every epoch.
"""

import errno
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from alia_ray.errors import FULL, FullDiskError

AHEAD = 4
"""Batches that are read while the device computes: as many threads, and as many batches in memory."""
_FOLDER = "/var/tmp"  # where systems that keep /tmp in memory want large files; TMPDIR comes first


class OnDisk:
    """Decoded images, uint8 (N, 3, S, S), in a file without a name: it goes with its process, however that ends.

    Raises FullDiskError where the disk does not hold them; reading and writing raise OSError.
    """

    def __init__(self, count: int, size: int) -> None:
        self._shape = (3, size, size)
        self._each = 3 * size * size  # bytes
        self.nbytes = count * self._each
        self._file, name = tempfile.mkstemp(dir=folder())
        os.unlink(name)
        weakref.finalize(self, os.close, self._file)
        self._reserve()

    def __setitem__(self, place: int, image: torch.Tensor) -> None:
        """Write an image: uint8 (3, S, S)."""
        written = os.pwrite(self._file, image.contiguous().numpy(), place * self._each)
        if written != self._each:
            raise self._full()

    def __getitem__(self, places: torch.Tensor) -> torch.Tensor:
        """Some images, in main memory. places: int64 (M,). Returns uint8 (M, 3, S, S)."""
        images = torch.empty((len(places), *self._shape), dtype=torch.uint8)
        for image, place in zip(images.numpy(), places.tolist(), strict=True):
            if os.preadv(self._file, [image], place * self._each) != self._each:
                raise OSError(errno.EIO, "decoded images on this node's disk were cut off")
        return images

    def batches(self, plan: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The images of some batches of places, one batch after the other, up to AHEAD of which are in memory."""
        ahead: deque[Future[torch.Tensor]] = deque()
        with ThreadPoolExecutor(AHEAD) as threads:
            for places in plan:
                ahead.append(threads.submit(self.__getitem__, places))
                if len(ahead) == AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def to(self, device: torch.device) -> torch.Tensor:
        """All of them on a device."""
        images = torch.empty((self.nbytes // self._each, *self._shape), dtype=torch.uint8, device=device)
        plan = torch.arange(len(images)).split(256)
        for places, batch in zip(images.split(256), self.batches(plan), strict=True):
            places.copy_(batch)
        return images

    def _reserve(self) -> None:
        """Take the room at once, where the system can: else it is found hours later that others took it."""
        if not self.nbytes or not hasattr(os, "posix_fallocate"):  # not on macOS
            return
        try:
            os.posix_fallocate(self._file, 0, self.nbytes)
        except OSError as error:
            if error.errno in (*FULL, errno.EFBIG):
                raise self._full() from None
            raise

    def _full(self) -> FullDiskError:
        return FullDiskError(
            f"the decoded images of a worker take {self.nbytes / 1e9:.1f} GB, and {folder()} of its node has less "
            "free; set TMPDIR to a folder on a larger disk there, raise train.workers, or lower train.image_size"
        )


def folder() -> str:
    """Where the file lies: TMPDIR, as Ray was started with it on the node."""
    return os.environ.get("TMPDIR") or (_FOLDER if os.access(_FOLDER, os.W_OK) else tempfile.gettempdir())
