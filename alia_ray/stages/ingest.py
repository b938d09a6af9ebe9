"""ingest: a source -> the images table. Any mode becomes RGB the right way up; what does not is an error row.

So is a picture that a more important split holds as well, under whatever name: see `alia_ray.stages.twins`.
The table follows the source: what the listing contradicts goes first, then whatever has neither a row nor an error
that is final is read. So a run that is killed anywhere goes on with what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray import config
from alia_ray.cluster.placement import Cluster, place
from alia_ray.cluster.tasks import spread
from alia_ray.config import Config, ConfigError, Pool
from alia_ray.config.source import Source
from alia_ray.images import DecodeError, plain_rgb
from alia_ray.models.revisions import pinned
from alia_ray.progress import number_of, say
from alia_ray.sources import list_images, no_label, notes, read_images
from alia_ray.sources.files import Content, NoPictureError
from alia_ray.stages.answered import left_to_do
from alia_ray.stages.changes import (
    DESCRIBED,
    Changes,
    Row,
    corrections,
    find_changes,
    in_common,
    is_lost,
    outdated,
)
from alia_ray.stages.streaming import (
    ROWS_PER_QUICK_BLOCK,
    Pass,
    check_error_rate,
    progress_of,
    stream,
    tell_errors,
)
from alia_ray.stages.summary import summary
from alia_ray.stages.twins import twins, twins_in, without_twins
from alia_ray.store.errors import read_errors
from alia_ray.store.ledger import ledger_of, quoted
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import ERRORS, IMAGES, content_id

POOL = Pool(batch_size=64)
_ROW = pa.schema([*IMAGES, pa.field("error", pa.string()), pa.field("kind", pa.string())])
_KNOWN = ["image_id", "origin", "label", "split", "group", "content"]
_LISTING = "part-listing.parquet"  # in listing/FINGERPRINT/: what was ingested last, each image with its version
_MARK = "_ingest.json"  # beside it: whether that came to its end, and whether names cover labels
_NAMED = "labels_named"
_DAMAGED = {"whole": False, _NAMED: True}  # what a mark that cannot be read may have said at the worst
_OF_TWINS = ["image_id", "content", "split", "origin"]


@dataclass(frozen=True)
class Images(Table):
    """The images table as others read it: under the strict protocol without what another split holds as well.

    Such rows go at the end of `ingest`, but one may come back: from a worker that outlived its run, or with a file
    whose deletion a power loss undid.
    """

    protocol: str = "strict"

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """As `Table.read`."""
        wanted = columns or self.schema.names
        if self.protocol != "strict":
            return super().read(wanted)
        return without_twins(super().read(list(dict.fromkeys([*_OF_TWINS, *wanted])))).select(wanted)

    def passed_over(self, rows: str) -> str | None:
        """As `Table.passed_over`."""
        return twins_in(rows) if self.protocol == "strict" else None


def images_table(settings: Config) -> Images:
    """The images table of a configuration."""
    protocol = getattr(settings.source, "protocol", "strict")
    return Images(RunFolder(settings.run.folder), "images", config.fingerprint(settings.source), protocol)


def unfinished(images: Table) -> str | None:
    """What `ingest` has still to do, as a sentence; None where there is nothing.

    It answers for every picture of the listing. Of releases that left no mark the listing says too little.
    """
    if not images.exists():
        return "there is no images table yet; run `alia-ray ingest` first"
    mark = _mark(images)
    if mark is None:
        return None
    if not mark["whole"]:
        return "ingest was interrupted; run `alia-ray ingest` first"
    listing = _ingested(images)
    if listing is None:
        return "ingest: the list of what was ingested is gone; run `alia-ray ingest` first"
    ledger = ledger_of(images.folder)
    target = Table(images.folder, images.name, images.fingerprint)
    listed = ledger.keep("listed", listing.select(["origin"]))
    failed = ledger.given(pa.table({"origin": pa.array(sorted(images.errors("ingest").ids()), pa.string())}))
    missing = ledger.number(
        f"SELECT count(*) FROM {listed} ANTI JOIN {ledger.rows(target, ['origin'])} USING (origin) "
        f"ANTI JOIN {failed} USING (origin)"
    )
    if not missing:
        return None
    return f"ingest: {missing} of {listing.num_rows} pictures are missing; run `alia-ray ingest` first"


def names_labels(images: Table) -> bool:
    """Whether names of what is learnt from these images cover their labels, which an image's id does not.

    They do for all that this release ingests. In the tables of older ones, whose classifiers are not to be trained
    anew, they do as soon as an image that training sees has got another label, or has gone and may come back.
    """
    mark = _mark(images)
    return mark is not None and mark.get(_NAMED, mark.get("corrected", False))


def list_source(settings: Config) -> pa.Table:
    """The listing of the source; of a dataset of the hub at the commit that its readers get, and no newer one."""
    return list_images(pinned(settings.source), spread(settings.run, "source"))


def ingest(settings: Config, cluster: Cluster, listing: pa.Table | None = None) -> Table:
    """Bring the images table in line with the source, reading what it lacks. Raises ConfigError, StageError.

    listing: the source's, where it was listed before. A source that cannot be listed any more is not needed where
    all of it was ingested.
    """
    images = images_table(settings)
    target = Table(images.folder, images.name, images.fingerprint)  # with what is still to be left out
    try:
        listing = list_source(settings) if listing is None else listing
    except ConfigError as error:
        if settings.run.source_changes == "refuse" or unfinished(target):
            raise
        say(f"ingest: {error}; going on with the {len(images.ids())} pictures that were ingested")
        return images
    ingested = _ingested(target)
    before, now, then = _concerned(target, listing, ingested)
    changes = _changes(settings, target, now, then, before)
    named = _must_name_labels(target, before, now, changes)
    _set_mark(target, whole=False, **{_NAMED: named})
    if settings.run.source_changes == "ignore":
        listing = _as_ingested(listing, ingested)
    else:
        _follow(target, now, changes, before)
    is_new = ingested is None or not listing.equals(ingested)
    if is_new:
        for note in notes(listing):
            say(f"ingest: {note}")
        target.folder.write_parquet(listing, "listing", target.fingerprint, _LISTING)
    job = _pass(settings, target, listing)
    placement = place("ingest", POOL, Cluster(cluster.cpus, gpus=0))
    with progress_of(job, placement) as progress:
        stream(job, placement, progress)
    if changes != Changes():
        _say_changes(target, changes, before)
    if images.protocol == "strict":
        _leave_out_twins(target)
    if is_new or job.todo:
        for line in summary(_counts(target)):
            say(f"ingest: {line}")
    check_error_rate(job)
    tell_errors(job)
    _set_mark(target, whole=True, **{_NAMED: named})
    return images


def _pass(settings: Config, target: Table, listing: pa.Table) -> Pass:
    ledger = ledger_of(target.folder)
    listed = ledger.keep("listing, as it is read", listing)
    wanted = f"SELECT origin AS key FROM {listed}"
    left = left_to_do(wanted, target, "ingest", "origin", settings.run.retry_errors)
    todo = ledger.keep("ingest, to do", f"SELECT * FROM {listed} SEMI JOIN ({left}) ON origin = key")
    return Pass(
        stage="ingest",
        rows=f"SELECT * FROM {todo} ORDER BY origin",
        todo=ledger.number(f"SELECT count(*) FROM {todo}"),
        worker=_Reader,
        worker_args=(settings.source,),
        target=target,
        key="origin",
        wanted=wanted,
        batch_size=POOL.batch_size,
        rows_per_block=ROWS_PER_QUICK_BLOCK,
        run=settings.run,
    )


# -------------------------------------------------------------------- a source that changed


def _concerned(
    target: Table, listing: pa.Table, ingested: pa.Table | None
) -> tuple[list[Row], dict[str, Row], dict[str, str | None]]:
    """What may have changed: rows of the images table, and by origin those of the listing, and versions of then.

    That is whatever the listing has otherwise than it was ingested, and what failed, with other copies of twins.
    """
    ledger, images = ledger_of(target.folder), ledger_of(target.folder).rows(target, _KNOWN)
    listed, errors = ledger.keep("listing", listing), read_errors(target.errors("ingest"))
    of_then = ledger.keep("listing of then", _versions(ingested))
    failed = pa.table({name: pa.array([row[name] for row in errors], pa.string()) for name in ("key", "twin_of")})
    of_errors = ledger.given(failed)
    described = " OR ".join(f"i.{name} IS DISTINCT FROM l.{name}" for name in map(quoted, DESCRIBED))
    concerned = ledger.keep(
        "concerned",
        f"SELECT coalesce(l.origin, t.origin) AS origin FROM {listed} l FULL JOIN {of_then} t USING (origin) "
        "WHERE l.origin IS NULL OR t.origin IS NULL OR l.version IS DISTINCT FROM t.version "
        f"UNION SELECT i.origin FROM {images} i LEFT JOIN {listed} l USING (origin) "
        f"WHERE l.origin IS NULL OR coalesce(l.label, '') = '' OR {described} "
        f"UNION SELECT key FROM {of_errors} "
        f"UNION SELECT i.origin FROM {images} i SEMI JOIN {of_errors} e ON i.image_id = e.twin_of",
    )
    if ingested is None and not ledger.number(f"SELECT count(*) FROM {images}"):
        concerned = f"(SELECT key AS origin FROM {of_errors})"  # all of it is new

    def rows_of(relation: str, columns: Sequence[str]) -> list[Row]:
        names = ", ".join(map(quoted, columns))
        return ledger.ask(f"SELECT {names} FROM {relation} SEMI JOIN {concerned} USING (origin)").to_pylist()

    before = rows_of(images, _KNOWN)
    now = {row["origin"]: row for row in rows_of(listed, listing.column_names)}
    tried = [row["origin"] for row in before] + [row["key"] for row in errors if row["key"] in now]
    versions = {row["origin"]: row["version"] for row in rows_of(of_then, ["origin", "version"])}
    then = dict.fromkeys(tried) | versions
    return before, now, then


def _counts(target: Table) -> pa.Table:
    """label, split, and how many images (`count`) have them."""
    ledger = ledger_of(target.folder)
    rows = ledger.rows(target, ["label", "split"])
    return ledger.ask(f"SELECT label, split, count(*) AS count FROM {rows} GROUP BY label, split")


def _changes(
    settings: Config, target: Table, now: dict[str, Row], then: dict[str, str | None], images: list[Row]
) -> Changes:
    """What changed. Raises ConfigError where that is not to be followed, or nothing at all is left."""
    policy = settings.run.source_changes
    if policy == "ignore":
        return Changes()
    ledger = ledger_of(target.folder)
    known = ledger.number(f"SELECT count(*) FROM {ledger.rows(target, [])}")
    lost = sum(row["origin"] not in now or is_lost(now[row["origin"]], then.get(row["origin"])) for row in images)
    if known and lost == known:
        raise ConfigError(
            f"source: none of the {known} pictures that were ingested is there any more; bring their disk "
            "back, use another run.folder if they are meant to be gone, or keep them by run.source_changes=ignore"
        )
    changes = find_changes(now, then, images)
    moved = in_common(
        (then[origin] for origin in changes.gone), (now[origin]["version"] for origin in changes.added)
    )
    if policy == "refuse" and (said := changes.said(moved, len(changes.replaced))):
        raise ConfigError(
            f"source: it changed since it was ingested ({said}), which run.source_changes=refuse forbids; put it "
            "back, use another run.folder, or set run.source_changes to follow or ignore"
        )
    return changes


def _follow(target: Table, now: dict[str, Row], changes: Changes, images: list[Row]) -> None:
    """Take out what the listing contradicts, and correct labels, splits and groups."""
    gone = outdated(now, changes, images, read_errors(target.errors("ingest")))
    if gone:
        target.discard({row["image_id"] for row in images if row["origin"] in gone})
        target.errors("ingest").discard(gone)
    target.correct(corrections(now, [row for row in images if row["origin"] not in gone]))


def _say_changes(target: Table, changes: Changes, before: list[Row]) -> None:
    """Say in one line what changed. Which pictures moved, and which were only touched, their contents tell."""
    gone, replaced = set(changes.gone), set(changes.replaced)
    ledger = ledger_of(target.folder)
    rows = ledger.rows(target, _KNOWN)
    added = ledger.given(pa.table({"origin": pa.array(changes.added, pa.string())}))
    kept = pa.array([row["image_id"] for row in before if row["origin"] in replaced], pa.string())
    ids = ledger.given(pa.table({"image_id": kept}))
    contents = ledger.column(f"SELECT content FROM {rows} SEMI JOIN {added} USING (origin)")
    same = ledger.number(f"SELECT count(*) FROM {rows} SEMI JOIN {ids} USING (image_id)")
    moved = in_common((row["content"] for row in before if row["origin"] in gone), contents)
    if said := changes.said(moved, len(changes.replaced) - same):
        say(f"ingest: the source changed: {said}")


def _ingested(target: Table) -> pa.Table | None:
    """The listing that was ingested last."""
    return target.folder.read_parquet("listing", target.fingerprint, _LISTING)


def _versions(ingested: pa.Table | None) -> pa.Table:
    """origin and version of what was ingested; older releases kept no versions."""
    if ingested is None:
        return pa.table({"origin": pa.array([], pa.string()), "version": pa.array([], pa.string())})
    if "version" not in ingested.column_names:
        ingested = ingested.append_column("version", pa.nulls(ingested.num_rows, pa.string()))
    return ingested.select(["origin", "version"])


def _as_ingested(listing: pa.Table, ingested: pa.Table | None) -> pa.Table:
    """A listing with the versions of what was read, where changes are ignored."""
    then = _versions(ingested)
    place = pc.index_in(listing.column("origin"), value_set=then.column("origin"))
    versions = pc.coalesce(then.column("version").take(place), listing.column("version"))
    return listing.set_column(listing.column_names.index("version"), "version", versions)


def _mark(target: Table) -> dict[str, Any] | None:
    return target.folder.read_json("listing", target.fingerprint, _MARK, if_damaged=_DAMAGED)


def _must_name_labels(target: Table, before: list[Row], now: dict[str, Row], changes: Changes) -> bool:
    mark = _mark(target) or {"whole": True}
    ledger = ledger_of(target.folder)
    is_empty = not ledger.number(f"SELECT count(*) FROM {ledger.rows(target, [])}")
    if is_empty or (not mark["whole"] and _NAMED not in mark):  # nothing was learnt from these images yet
        return True
    gone, relabelled = set(changes.gone), set(changes.relabelled)
    others = (
        row["origin"] in gone or (row["origin"] in relabelled and row["label"] != now[row["origin"]]["label"])
        for row in before
        if row["split"] != "test"
    )
    return names_labels(target) or any(others)


def _set_mark(target: Table, **mark: Any) -> None:
    target.folder.write_json(mark, "listing", target.fingerprint, _MARK)


# -------------------------------------------------------------------- reading


def _leave_out_twins(target: Table) -> None:
    """Make rows of errors out of the images that another split holds as well.

    The errors come first: where this is killed in between, the next run finds and takes out what is left.
    """
    ledger = ledger_of(target.folder)
    rows, of_twins = ledger.rows(target, _OF_TWINS), ", ".join(_OF_TWINS)
    several = f"SELECT content FROM {rows} GROUP BY content HAVING min(split) < max(split)"
    same = twins(ledger.ask(f"SELECT {of_twins} FROM {rows} SEMI JOIN ({several}) USING (content)"))
    if not same:
        return
    first = min(same, key=lambda row: row["origin"])
    say(
        f"ingest: left out {number_of(len(same), 'pictures')} that another split holds too, such as "
        f"{first['origin']!r}, {first['reason']}"
    )
    reported = [{"stage": "ingest", "kind": "twin", "key": row["origin"], **row} for row in same]
    target.errors("ingest").commit(pa.Table.from_pylist(reported, schema=ERRORS))
    target.discard({row["image_id"] for row in same})


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source

    def __call__(self, rows: pa.Table) -> pa.Table:
        contents = read_images(self.source, rows)
        made = [
            _image_row(self.source, row, content) for row, content in zip(rows.to_pylist(), contents, strict=True)
        ]
        return pa.Table.from_pylist(made, schema=_ROW)


def _image_row(source: Source, row: Row, content: Content) -> Row:
    """A row of the images table, or the origin of one that failed, with why."""
    if not row["label"]:
        return {"origin": row["origin"], "error": f"has no label: {no_label(source)}", "kind": "label"}
    if isinstance(content, OSError):
        kind = "decode" if isinstance(content, NoPictureError) else "read"
        return {"origin": row["origin"], "error": f"cannot be read: {content}", "kind": kind}
    try:
        encoded, picture = plain_rgb(content)
    except DecodeError as error:
        return {"origin": row["origin"], "error": str(error), "kind": "decode"}
    pixels = picture.tobytes()
    return {
        **row,
        "image_id": content_id(row["origin"], pixels),
        "content": content_id(f"{picture.width}x{picture.height}", pixels),
        "image": encoded,
        "width": picture.width,
        "height": picture.height,
    }
