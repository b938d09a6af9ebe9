"""caption: the training images -> their captions, by a pool of BLIP captioners (paper, section 3.1)."""

from collections.abc import Sequence

import pyarrow as pa
import ray

from alia_ray import config
from alia_ray.cluster.memory import caption_needs
from alia_ray.cluster.placement import Cluster, place
from alia_ray.config import Caption, Config
from alia_ray.images import decode_rgb
from alia_ray.plain_text import plain_line
from alia_ray.stages.loading import captioner_of
from alia_ray.stages.streaming import Pass, keep_ids, left_to_do, run_pass
from alia_ray.store import tables
from alia_ray.store.run_folder import RunFolder, Table

_ROW = pa.schema([*tables.CAPTIONS, pa.field("error", pa.string())])


def captions_table(settings: Config) -> Table:
    """The captions table of a configuration. Captions do not depend on the source: they are keyed by image."""
    caption = settings.caption
    fingerprint = config.fingerprint(caption.model, caption.prefix, caption.max_new_tokens)
    return RunFolder(settings.run.folder).table("captions", fingerprint)


def caption(settings: Config, images: Table, wanted: Sequence[str], cluster: Cluster) -> None:
    """Caption those of some images that have none yet. Raises StageError."""
    target = captions_table(settings)
    todo = left_to_do(wanted, target, "caption", "image_id", settings.run.retry_errors)
    run_pass(
        Pass(
            stage="caption",
            source=images.parts(),
            columns=["image_id", "image"],
            prepare=keep_ids("image_id", ray.put(pa.array(todo, pa.string()))),
            worker=_Captions,
            worker_args=(settings.caption,),
            target=target,
            key="image_id",
            wanted=wanted,
            batch_size=settings.caption.batch_size,
            todo=len(todo),
            run=settings.run,
        ),
        place("caption", settings.caption, cluster, caption_needs(settings, cluster)),
    )


class _Captions:
    def __init__(self, settings: Caption) -> None:
        self.captioner = captioner_of(settings)

    def __call__(self, rows: pa.Table) -> pa.Table:
        pictures = map(decode_rgb, rows.column("image").to_pylist())
        captions = [plain_line(caption) for caption in self.captioner.caption(pictures)]
        errors = [None if caption.strip() else "the captioner said nothing" for caption in captions]
        return pa.table([rows.column("image_id"), captions, errors], schema=_ROW)
