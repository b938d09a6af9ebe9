"""caption: the training images -> their captions, by a pool of BLIP captioners (paper, section 3.1)."""

import pyarrow as pa

from alia_ray import config
from alia_ray.cluster.memory import caption_needs
from alia_ray.cluster.placement import Cluster, place
from alia_ray.config import Caption, Config
from alia_ray.edits.requests import OF_IMAGES
from alia_ray.images import decode_rgb
from alia_ray.plain_text import plain_line
from alia_ray.stages.answered import left_to_do
from alia_ray.stages.loading import captioner_of
from alia_ray.stages.streaming import ROWS_PER_QUICK_BLOCK, Pass, run_pass
from alia_ray.store import tables
from alia_ray.store.ledger import ledger_of
from alia_ray.store.run_folder import RunFolder, Table

_ROW = pa.schema([*tables.CAPTIONS, pa.field("error", pa.string())])


def captions_table(settings: Config) -> Table:
    """The captions table of a configuration. Captions do not depend on the source: they are keyed by image."""
    caption = settings.caption
    fingerprint = config.fingerprint(caption.model, caption.prefix, caption.max_new_tokens)
    return RunFolder(settings.run.folder).table("captions", fingerprint)


def caption(settings: Config, images: Table, cluster: Cluster) -> None:
    """Caption the training images that have none yet. Raises StageError."""
    target, wanted, ledger = captions_table(settings), wanted_captions(images), ledger_of(images.folder)
    left = left_to_do(wanted, target, "caption", "image_id", settings.run.retry_errors)
    todo = ledger.keep(
        "caption, to do",
        f"SELECT image_id, file FROM {ledger.rows(images, OF_IMAGES)} SEMI JOIN ({left}) ON image_id = key",
    )
    run_pass(
        Pass(
            stage="caption",
            rows=f"SELECT * FROM {todo}",
            todo=ledger.number(f"SELECT count(*) FROM {todo}"),
            source=(images, ["image"]),
            worker=_Captions,
            worker_args=(settings.caption,),
            target=target,
            key="image_id",
            wanted=wanted,
            batch_size=settings.caption.batch_size,
            rows_per_block=ROWS_PER_QUICK_BLOCK,
            run=settings.run,
        ),
        place("caption", settings.caption, cluster, caption_needs(settings, cluster)),
    )


def wanted_captions(images: Table) -> str:
    """SQL of the ids (`key`) of the images that are captioned."""
    return f"SELECT image_id AS key FROM {ledger_of(images.folder).rows(images, OF_IMAGES)} WHERE split = 'train'"


class _Captions:
    def __init__(self, settings: Caption) -> None:
        self.captioner = captioner_of(settings)

    def __call__(self, rows: pa.Table) -> pa.Table:
        pictures = map(decode_rgb, rows.column("image").to_pylist())
        captions = [plain_line(caption) for caption in self.captioner.caption(pictures)]
        errors = [None if caption.strip() else "the captioner said nothing" for caption in captions]
        return pa.table([rows.column("image_id"), captions, errors], schema=_ROW)
