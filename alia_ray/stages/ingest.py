"""ingest: a source -> the images table. Any mode becomes RGB the right way up; what does not is an error row.

So is a picture that a more important split holds as well, under whatever name: see `alia_ray.stages.twins`.
"""

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from alia_ray import config
from alia_ray.cluster.placement import Cluster, place
from alia_ray.config import Config, Pool
from alia_ray.config.source import Source
from alia_ray.images import DecodeError, plain_rgb
from alia_ray.progress import say
from alia_ray.sources import list_images, read_images
from alia_ray.stages.streaming import Pass, keep_ids, run_pass
from alia_ray.stages.twins import twins
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import ERRORS, IMAGES, content_id

POOL = Pool(batch_size=64)
_ROW = pa.schema([*IMAGES, pa.field("error", pa.string())])


def images_table(settings: Config) -> Table:
    """The images table of a configuration, whatever its classes are called in prompts."""
    source = settings.source.model_dump(mode="json", exclude={"class_names"})
    return RunFolder(settings.run.folder).table("images", config.fingerprint(source))


def ingest(settings: Config, cluster: Cluster, listing: pa.Table | None = None) -> Table:
    """Read every image of the source that is not in the images table yet. Raises ConfigError, StageError.

    `listing`: the source's, where it was listed before.
    """
    folder, target = RunFolder(settings.run.folder), images_table(settings)
    if listing is None:
        listing = list_images(settings.source)
    done = set(target.read(["origin"]).column(0).to_pylist())
    if not settings.run.retry_errors:
        done |= target.errors("ingest").ids()
    todo = [origin for origin in listing.column("origin").to_pylist() if origin not in done]
    if todo:
        folder.write_bytes(_parquet(listing), "listing", target.fingerprint, "part-listing.parquet")
    run_pass(
        Pass(
            stage="ingest",
            source=folder.file("listing", target.fingerprint),
            columns=listing.column_names,
            prepare=keep_ids("origin", ray.put(pa.array(todo, pa.string()))),
            worker=_Reader,
            worker_args=(settings.source,),
            target=target,
            batch_size=POOL.batch_size,
            todo=len(todo),
            run=settings.run,
        ),
        place("ingest", POOL, Cluster(cluster.cpus, gpus=0)),
    )
    if getattr(settings.source, "protocol", "strict") == "strict":
        _leave_out_twins(target)
    return target


def _leave_out_twins(target: Table) -> None:
    """Make rows of errors out of the images that another split holds as well.

    The errors come first: where this is killed in between, the next run finds and takes out what is left.
    """
    found = twins(target.read(["image_id", "content", "split", "origin"]))
    if not found:
        return
    say(f"ingest: {len(found)} pictures are left out, because another split holds them too; see the errors table")
    reported = [{"stage": "ingest", "key": row["origin"], "reason": row["reason"]} for row in found]
    target.errors("ingest").commit(pa.Table.from_pylist(reported, schema=ERRORS))
    target.discard({row["image_id"] for row in found})


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    return sink.getvalue().to_pybytes()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source

    def __call__(self, rows: pa.Table) -> pa.Table:
        contents = read_images(self.source, rows)
        made = [_image_row(row, content) for row, content in zip(rows.to_pylist(), contents, strict=True)]
        return pa.Table.from_pylist(made, schema=_ROW)


def _image_row(row: dict[str, str | None], content: bytes | OSError) -> dict[str, object]:
    """A row of the images table; a failed one is keyed by its origin, since it has no content."""
    try:
        if not row["label"]:
            raise DecodeError("has no label")
        if isinstance(content, OSError):
            raise DecodeError(f"cannot be read: {content}")
        encoded, picture = plain_rgb(content)
    except DecodeError as error:
        return {**row, "image_id": row["origin"], "error": str(error)}
    pixels = picture.tobytes()
    return {
        **row,
        "image_id": content_id(row["origin"], pixels),
        "content": content_id(f"{picture.width}x{picture.height}", pixels),
        "image": encoded,
        "width": picture.width,
        "height": picture.height,
        "error": None,
    }
