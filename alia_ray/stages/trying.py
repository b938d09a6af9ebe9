"""The worker of `edit`: takes images with what is to be tried of each, and gives a row for every attempt."""

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from alia_ray.config import Edit, Judge
from alia_ray.edits.attempts import Attempt, Pending, next_batch
from alia_ray.edits.requests import Plan, requests_of
from alia_ray.edits.shapes import bucket_of, frame_of
from alia_ray.edits.shapes import buckets as buckets_of
from alia_ray.edits.verdicts import judged
from alia_ray.images import Shape, decode_rgb, encode, from_array, squeeze, to_array
from alia_ray.stages.loading import editor_of, scorer_of
from alia_ray.stages.streaming import COMPLETES, SAID
from alia_ray.store import tables

if TYPE_CHECKING:
    import torch

LOSSLESS = ("png",)  # of edit.format
FLAT_STD = 0.004  # an edit in whose channels pixels deviate by less than one step of 255 shows nothing

Stored = tuple[Image.Image, bytes | None]
"""An edit as the table gives it back, and its bytes where it took encoding to know that."""


class EditAndJudge:
    """Takes images with what is to be tried of each, and returns a row for every attempt that it made."""

    tell: Callable[[int], None] = staticmethod(lambda made: None)  # hears of each batch of attempts

    def __init__(
        self, edit: Edit, judge: Judge, plan: Plan, classifier_folder: str, thresholds: dict[str, float]
    ) -> None:
        self.edit, self.judge, self.plan, self.thresholds = edit, judge, plan, thresholds
        self.editor = editor_of(edit)
        self.scorer = scorer_of(judge, classifier_folder)
        self.node = socket.gethostname()
        self.threads = ThreadPoolExecutor(max(2, int(edit.cpus_per_worker)))

    def __call__(self, images: pa.Table) -> pa.Table:
        started = time.perf_counter()
        made: list[pa.Table] = []
        pictures: list[Future[bytes] | None] = []
        for bucket, alike in by_bucket(images, self.edit.size).items():
            for rows, stored in self._edited(alike, bucket):
                pictures += [
                    self._picture(*each, verdict)
                    for each, verdict in zip(stored, rows["verdict"].to_pylist(), strict=True)
                ]
                made.append(rows)
        finished = _finished(made, pictures, started)
        return finished.append_column(SAID, pa.array([self.editor.said] * finished.num_rows, pa.string()))

    def _edited(self, images: pa.Table, bucket: Shape) -> Iterator[tuple[pa.Table, list[Stored]]]:
        """Batches of attempts at images of one bucket: what `_attempt` gives, until each has its survivors."""
        asked = requests_of(images.drop_columns("image"), self.plan).drop_columns("source_image")
        requests = {row["edit_id"]: row for row in asked.to_pylist()}
        shapes = zip(images["width"].to_pylist(), images["height"].to_pylist(), strict=True)
        frames = [frame_of(shape, self.edit.size) for shape in shapes]
        sources = self._encoded(images["image"].to_pylist(), bucket)
        pending = _pending(images, self.edit.edits_per_image)
        while batch := next_batch(pending, self.edit.batch_size):
            places = [image.place for image, _ in batch]
            wanted = [requests[attempt.edit_id] for _, attempt in batch]
            rows, stored = self._attempt(wanted, sources[places], bucket, [frames[place] for place in places])
            for (image, _), verdict in zip(batch, rows["verdict"].to_pylist(), strict=True):
                image.settle(verdict == "kept")
            self.tell(len(batch))
            yield rows, stored

    def _encoded(self, images: list[bytes], bucket: Shape) -> "torch.Tensor":
        """The sources as the editor takes them: whole frames in the shape of the bucket, in their order."""
        import torch

        def pixels(image: bytes) -> np.ndarray:
            return to_array(squeeze(decode_rgb(image), bucket))

        parts = torch.from_numpy(np.stack(list(self.threads.map(pixels, images)))).split(self.edit.batch_size)
        return torch.cat([self.editor.encode(part) for part in parts])

    def _attempt(
        self, requests: list[dict[str, Any]], sources: "torch.Tensor", bucket: Shape, frames: list[Shape]
    ) -> tuple[pa.Table, list[Stored]]:
        """Edit and judge one batch: rows of the edits table without pictures, and the pictures in their frames."""
        import torch

        prompts, seeds = ([request[name] for request in requests] for name in ("prompt", "seed"))
        made = self.editor.edit(sources, prompts, seeds, bucket)
        errors = [_error(image) for image in made]
        edited = [stretch(image, frame) for image, frame in zip(made.nan_to_num(), frames, strict=True)]
        stored = list(self.threads.map(self._stored, edited))
        seen = [torch.from_numpy(to_array(picture)) for picture, _ in stored]
        scores = self.scorer.score(seen, [request["label"] for request in requests])
        rows = [
            {**request, **score, "error": error or score["error"], "node": self.node}
            for request, score, error in zip(requests, scores, errors, strict=True)
        ]
        return with_verdicts(rows, self.thresholds, self.judge), stored

    def _stored(self, edited: "torch.Tensor") -> Stored:
        """An edit as it will be read from the table: what is judged is what is trained on."""
        picture = from_array(edited.cpu().numpy())
        if self.edit.format in LOSSLESS:
            return picture, None
        encoded = encode(picture, self.edit.format)
        return decode_rgb(encoded), encoded

    def _picture(self, picture: Image.Image, encoded: bytes | None, verdict: str) -> Future[bytes] | None:
        """An edit that is to be kept as a picture, being encoded beside the device's work."""
        if not has_picture(verdict, self.edit):
            return None
        return self.threads.submit(lambda: encoded or encode(picture, self.edit.format))


def stretch(image: "torch.Tensor", frame: Shape) -> "torch.Tensor":
    """An edit, float (3, H, W) in [0, 1], in the shape that shows all of it undistorted."""
    from torchvision.transforms.v2 import functional

    if image.shape[1:] == (frame[1], frame[0]):
        return image
    bicubic = functional.InterpolationMode.BICUBIC
    return functional.resize(image, [frame[1], frame[0]], bicubic, antialias=True).clamp(0, 1)


def _pending(images: pa.Table, per_image: int | str) -> list[Pending]:
    attempts, survived = (images[name].to_pylist() for name in ("attempts", "survived"))
    return [
        Pending(place, deque(map(Attempt, *of_image)), len(of_image[0]) if per_image == "all" else int(per_image))
        for place, of_image in enumerate(zip(attempts, survived, strict=True))
    ]


def _error(edited: "torch.Tensor") -> str | None:
    """Why an image is none, if so: what half precision cannot hold is not an edit."""
    if not edited.isfinite().all():
        return "the edit holds NaN or infinite pixels"
    of_channels = edited.flatten(1).std(dim=1)  # each by itself: green is no grey
    return "the edit is one flat colour" if of_channels.max() < FLAT_STD else None


def _finished(made: list[pa.Table], pictures: list[Future[bytes] | None], started: float) -> pa.Table:
    """The rows of a call with their pictures, sizes and seconds, and how many images each one completes."""
    rows = pa.concat_tables(made)
    encoded = [None if picture is None else picture.result() for picture in pictures]
    seconds = time.perf_counter() - started - pc.sum(rows["judge_seconds"]).as_py()
    ids = rows["image_id"].to_pylist()
    completes = [image_id not in ids[:place] for place, image_id in enumerate(ids)]
    values = {
        "image": encoded,
        "image_bytes": [None if picture is None else len(picture) for picture in encoded],
        "edit_seconds": [seconds / rows.num_rows] * rows.num_rows,
    }
    for name, column in values.items():
        field = tables.EDITS.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(column, field.type))
    return rows.append_column(COMPLETES, pa.array(completes).cast(pa.int64()))


def with_verdicts(rows: list[dict[str, Any]], thresholds: dict[str, float], judge: Judge) -> pa.Table:
    """Rows of scores and outcomes as a piece of the edits table, with their verdicts.

    A filter that compares edits with each other has no say yet: what a batch holds must not matter.
    """
    table = pa.Table.from_pylist(rows, schema=tables.EDITS)
    if judge.confidence_rule == "within_domain":
        judge = judge.model_copy(update={"filters": [name for name in judge.filters if name != "mislabelled"]})
    verdict = pa.array(judged(table, thresholds, judge), pa.string())
    return table.set_column(table.schema.get_field_index("verdict"), tables.EDITS.field("verdict"), verdict)


def has_picture(verdict: str, edit: Edit) -> bool:
    """Whether an edit of a verdict is kept as a picture."""
    return verdict == "kept" or (edit.keep_rejected and verdict not in ("error", "unsafe"))


def by_bucket(images: pa.Table, size: int) -> dict[Shape, pa.Table]:
    """The shape at which pictures are edited -> those of `images` (with width and height), in their order."""
    sources = zip(images["width"].to_pylist(), images["height"].to_pylist(), strict=True)
    buckets = pa.array([str(bucket_of(source, size)) for source in sources], pa.string())
    groups = ((bucket, images.filter(pc.equal(buckets, str(bucket)))) for bucket in buckets_of(size))
    return {bucket: group for bucket, group in groups if group.num_rows}
