"""The workers of `edit` and `judge`: they take images with what is to be tried of each, and try it in its order.

An attempt whose picture another edits table holds is scored as it is there; the others are made.
"""

import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from alia_ray.config import Edit, Judge
from alia_ray.edits.attempts import Attempt, Pending, next_batch
from alia_ray.edits.requests import OF_IMAGES, Plan, requests_of
from alia_ray.edits.shapes import bucket_of, frame_of
from alia_ray.edits.shapes import buckets as buckets_of
from alia_ray.edits.verdicts import judged
from alia_ray.images import Shape, decode_rgb, encode, from_array, squeeze, to_array
from alia_ray.stages.loading import editor_of, scorer_of
from alia_ray.stages.streaming import COMPLETES, SAID
from alia_ray.store import tables
from alia_ray.store.rows import stream
from alia_ray.store.run_folder import FILE

if TYPE_CHECKING:
    import torch

LOSSLESS = ("png",)  # of edit.format
FLAT_STD = 0.004  # an edit in whose channels pixels deviate by less than one step of 255 shows nothing

Row = dict[str, Any]
Outcomes = dict[str, tuple[Row, "Shown"]]
"""edit_id -> what its row says of how it was made, with "error", and the picture."""
Make = Callable[[list[tuple[int, Row]]], Outcomes]
"""Makes edits of images, told by their places among those at hand, as requests ask for them."""

_PLACES = pa.schema([("edit_id", pa.string()), (FILE, pa.string())])
_AS_IT_WAS_MADE = ["image", "edit_seconds", "node"]  # of a stored edit; request and judge say the rest


class Shown(NamedTuple):
    """An edit as the table gives it back, and its bytes where they are known."""

    picture: Image.Image
    encoded: bytes | None


@dataclass(frozen=True)
class Rules:
    """How edits are asked for, tried, judged and kept, whoever makes them."""

    plan: Plan
    classifier_folder: str  # of the base classifier, which judges
    thresholds: dict[str, float]  # class name -> the base classifier's
    per_image: int | Literal["all"]  # survivors that end it
    at_once: int
    size: int
    format: str
    keeps_rejected: bool
    threads: int
    table: str  # the URI of an edits table, on whose file system the stored pictures are; "" where none is stored


def rules_of(
    edit: Edit, plan: Plan, classifier_folder: str, thresholds: dict[str, float], table: str = ""
) -> Rules:
    """The rules of a configuration's `edit`."""
    return Rules(
        plan=plan,
        classifier_folder=classifier_folder,
        thresholds=thresholds,
        per_image=edit.edits_per_image,
        at_once=edit.batch_size,
        size=edit.size,
        format=edit.format,
        keeps_rejected=edit.keep_rejected,
        threads=max(2, int(edit.cpus_per_worker)),
        table=table,
    )


class JudgeStored:
    """Takes images with what is to be tried of each, all of it stored: scores that, and makes nothing.

    Returns a row for every attempt that it scored.
    """

    tell: Callable[[int], None] = staticmethod(lambda made: None)  # hears of each batch of attempts
    said: str | None = None  # a sentence for the person

    def __init__(self, judge: Judge, rules: Rules) -> None:
        self.judge, self.rules = judge, rules
        self.scorer = scorer_of(judge, rules.classifier_folder)
        self.node = socket.gethostname()
        self.threads = ThreadPoolExecutor(rules.threads)

    def __call__(self, images: pa.Table) -> pa.Table:
        started = time.perf_counter()
        made: list[pa.Table] = []
        pictures: list[Future[bytes] | None] = []
        for bucket, alike in by_bucket(images, self.rules.size).items():
            for rows, shown in self._tried(alike, bucket):
                verdicts = rows["verdict"].to_pylist()
                pictures += [self._picture(*each) for each in zip(shown, verdicts, strict=True)]
                made.append(rows)
        finished = _finished(made, pictures, started)
        return finished.append_column(SAID, pa.array([self.said] * finished.num_rows, pa.string()))

    def _tried(self, images: pa.Table, bucket: Shape) -> Iterator[tuple[pa.Table, list[Shown]]]:
        """Batches of attempts at images of one bucket, until each has its survivors.

        Each as rows of the edits table without pictures, and the pictures.
        """
        asked = requests_of(images.select(list(OF_IMAGES)), self.rules.plan).drop_columns("source_image")
        requests = {row["edit_id"]: row for row in asked.to_pylist()}
        make = self._maker(images, bucket)
        pending = _pending(images, self.rules.per_image)
        while batch := next_batch(pending, self.rules.at_once):
            wanted = [requests[attempt.edit_id] for _, attempt in batch]
            stored = self._stored([attempt for _, attempt in batch if attempt.stored])
            missing = [
                (image.place, request)
                for (image, _), request in zip(batch, wanted, strict=True)
                if request["edit_id"] not in stored
            ]
            rows, shown = self._scored(wanted, stored | (make(missing) if missing else {}))
            for (image, _), verdict in zip(batch, rows["verdict"].to_pylist(), strict=True):
                image.settle(verdict == "kept")
            self.tell(len(batch))
            yield rows, shown

    def _maker(self, images: pa.Table, bucket: Shape) -> Make:
        """What makes the edits of some images of a bucket that are not stored."""

        def make(missing: list[tuple[int, Row]]) -> Outcomes:
            raise AssertionError(f"{len(missing)} edits are to be judged that are not there")

        return make

    def _stored(self, attempts: list[Attempt]) -> Outcomes:
        """The edits that are there, as they were made."""
        places = {"edit_id": [a.edit_id for a in attempts], FILE: [a.stored for a in attempts]}
        found: Outcomes = {}
        for rows in stream(self.rules.table, pa.table(places, schema=_PLACES), _AS_IT_WAS_MADE):
            pictures = self.threads.map(decode_rgb, rows["image"].to_pylist())
            for row, picture in zip(rows.to_pylist(), pictures, strict=True):
                shown = Shown(picture, row.pop("image"))
                found[row["edit_id"]] = ({"error": None, **row}, shown)
        return found

    def _scored(self, requests: list[Row], outcomes: Outcomes) -> tuple[pa.Table, list[Shown]]:
        """One batch, judged: rows of the edits table without pictures, and the pictures."""
        made = [outcomes[request["edit_id"]] for request in requests]
        seen = self._seen([shown.picture for _, shown in made])
        scores = self.scorer.score(seen, [request["label"] for request in requests])
        rows = [
            {**how, **request, **score, "error": how["error"] or score["error"]}
            for request, score, (how, _) in zip(requests, scores, made, strict=True)
        ]
        return with_verdicts(rows, self.rules.thresholds, self.judge), [shown for _, shown in made]

    def _seen(self, pictures: list[Image.Image]) -> "list[torch.Tensor]":
        """Pictures as judges take them."""
        import torch

        return [torch.from_numpy(to_array(picture)) for picture in pictures]

    def _picture(self, shown: Shown, verdict: str) -> Future[bytes] | None:
        """An edit that is to be kept as a picture, being encoded beside the device's work."""
        if not has_picture(verdict, self.rules.keeps_rejected):
            return None
        return self.threads.submit(lambda: shown.encoded or encode(shown.picture, self.rules.format))


class EditAndJudge(JudgeStored):
    """The same, and makes what is not stored."""

    def __init__(self, edit: Edit, judge: Judge, rules: Rules) -> None:
        self.editor = editor_of(edit)
        super().__init__(judge, rules)

    @property
    def said(self) -> str | None:
        """What the editor has to say to the person."""
        return self.editor.said

    def _maker(self, images: pa.Table, bucket: Shape) -> Make:
        shapes = zip(images["width"].to_pylist(), images["height"].to_pylist(), strict=True)
        frames = [frame_of(shape, self.rules.size) for shape in shapes]
        lacking = [place for place, stored in enumerate(images["stored"].to_pylist()) if None in stored]
        encoded = images["image"].take(lacking).to_pylist()
        sources = self._sources(encoded, bucket) if lacking else None
        at = {place: number for number, place in enumerate(lacking)}

        def make(missing: list[tuple[int, Row]]) -> Outcomes:
            places, requests = zip(*missing, strict=True)
            numbers = [at[place] for place in places]
            return self._edited(list(requests), sources[numbers], bucket, [frames[place] for place in places])

        return make

    def _sources(self, images: list[bytes], bucket: Shape) -> "torch.Tensor":
        """The sources as the editor takes them: whole frames in the shape of the bucket, in their order."""
        import torch

        def pixels(image: bytes) -> np.ndarray:
            return to_array(squeeze(decode_rgb(image), bucket))

        parts = torch.from_numpy(np.stack(list(self.threads.map(pixels, images)))).split(self.rules.at_once)
        return torch.cat([self.editor.encode(part) for part in parts])

    def _edited(
        self, requests: list[Row], sources: "torch.Tensor", bucket: Shape, frames: list[Shape]
    ) -> Outcomes:
        """One batch of edits in their frames."""
        prompts, seeds = ([request[name] for request in requests] for name in ("prompt", "seed"))
        made = self.editor.edit(sources, prompts, seeds, bucket)
        errors = [_error(image) for image in made]
        edited = [stretch(image, frame) for image, frame in zip(made.nan_to_num(), frames, strict=True)]
        return {
            request["edit_id"]: ({"error": error, "node": self.node}, shown)
            for request, error, shown in zip(requests, errors, self.threads.map(self._shown, edited), strict=True)
        }

    def _shown(self, edited: "torch.Tensor") -> Shown:
        """An edit as it will be read from the table: what is judged is what is trained on."""
        picture = from_array(edited.cpu().numpy())
        if self.rules.format in LOSSLESS:
            return Shown(picture, None)
        encoded = encode(picture, self.rules.format)
        return Shown(decode_rgb(encoded), encoded)


def stretch(image: "torch.Tensor", frame: Shape) -> "torch.Tensor":
    """An edit, float (3, H, W) in [0, 1], in the shape that shows all of it undistorted."""
    from torchvision.transforms.v2 import functional

    if image.shape[1:] == (frame[1], frame[0]):
        return image
    bicubic = functional.InterpolationMode.BICUBIC
    return functional.resize(image, [frame[1], frame[0]], bicubic, antialias=True).clamp(0, 1)


def _pending(images: pa.Table, per_image: int | str) -> list[Pending]:
    columns = (images[name].to_pylist() for name in ("attempts", "survived", "stored"))
    return [
        Pending(place, deque(map(Attempt, *of_image)), len(of_image[0]) if per_image == "all" else int(per_image))
        for place, of_image in enumerate(zip(*columns, strict=True))
    ]


def _error(edited: "torch.Tensor") -> str | None:
    """Why an image is none, if so: what half precision cannot hold is not an edit."""
    if not edited.isfinite().all():
        return "the edit holds NaN or infinite pixels"
    of_channels = edited.flatten(1).std(dim=1)  # each by itself: green is no grey
    return "the edit is one flat colour" if of_channels.max() < FLAT_STD else None


def _finished(made: list[pa.Table], pictures: list[Future[bytes] | None], started: float) -> pa.Table:
    """The rows of a call with their pictures, sizes and seconds, and how many images each one completes.

    What was stored keeps the seconds that it took to make.
    """
    rows = pa.concat_tables(made)
    encoded = [None if picture is None else picture.result() for picture in pictures]
    seconds = time.perf_counter() - started - pc.sum(rows["judge_seconds"]).as_py()
    each = seconds / max(rows["edit_seconds"].null_count, 1)
    ids = rows["image_id"].to_pylist()
    completes = [image_id not in ids[:place] for place, image_id in enumerate(ids)]
    values = {
        "image": encoded,
        "image_bytes": [None if picture is None else len(picture) for picture in encoded],
        "edit_seconds": pc.fill_null(rows["edit_seconds"], each),
    }
    for name, column in values.items():
        field = tables.EDITS.field(name)
        column = column if isinstance(column, pa.ChunkedArray) else pa.array(column, field.type)
        rows = rows.set_column(rows.schema.get_field_index(name), field, column)
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


def has_picture(verdict: str, keeps_rejected: bool) -> bool:
    """Whether an edit of a verdict is kept as a picture."""
    return verdict == "kept" or (keeps_rejected and verdict not in ("error", "unsafe"))


def by_bucket(images: pa.Table, size: int) -> dict[Shape, pa.Table]:
    """The shape at which pictures are edited -> those of `images` (with width and height), in their order."""
    sources = zip(images["width"].to_pylist(), images["height"].to_pylist(), strict=True)
    buckets = pa.array([str(bucket_of(source, size)) for source in sources], pa.string())
    groups = ((bucket, images.filter(pc.equal(buckets, str(bucket)))) for bucket in buckets_of(size))
    return {bucket: group for bucket, group in groups if group.num_rows}
