"""What a report asks of all rows at once, by queries of the ledger: only counts and few rows come back."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config import Judge
from alia_ray.edits.drawing import scores_of, verdict
from alia_ray.llm.captions import words_of
from alia_ray.report.inputs import ReportInputs
from alia_ray.store.ledger import Ledger, content_id_of, ledger_of, quoted
from alia_ray.store.rows import stream
from alia_ray.store.tables import EDITS

_OF_IMAGES = ["image_id", "label", "split", "group", "origin"]
_SHOWN = [name for name in EDITS.names if name not in ("edit_id", "image", "class_probabilities", "verdict")]
_SECONDS = ["edit_seconds", "judge_seconds"]


def ledger_for(inputs: ReportInputs) -> Ledger:
    """Where a report's queries are asked."""
    return ledger_of(inputs.images.folder)


def _place(column: str, inputs: ReportInputs, purpose: str) -> str:
    """SQL of a place in an order that depends on nothing but the seed, the purpose and each id itself."""
    return content_id_of(column, "report", purpose, str(inputs.seed))


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


# -------------------------------------------------------------------- images and captions


def count_images(inputs: ReportInputs) -> pa.Table:
    """label, split, and how many images (`count`) have them."""
    ledger = ledger_for(inputs)
    rows = ledger.rows(inputs.images, _OF_IMAGES)
    return ledger.ask(f"SELECT label, split, count(*) AS count FROM {rows} GROUP BY ALL ORDER BY ALL")


def count_captions(inputs: ReportInputs) -> int:
    """How many of the images that the source still has are captioned."""
    ledger = ledger_for(inputs)
    return 0 if inputs.captions is None else ledger.number(f"SELECT count(*) FROM ({_captions(inputs)})")


def _captions(inputs: ReportInputs) -> str:
    """SQL of image_id and caption of the images that the source still has."""
    ledger = ledger_for(inputs)
    images, captions = ledger.rows(inputs.images, _OF_IMAGES), ledger.rows(inputs.captions, ["caption"])
    return f"SELECT image_id, caption FROM {captions} SEMI JOIN {images} USING (image_id)"


def draw_captioned(inputs: ReportInputs, count: int) -> list[dict[str, Any]]:
    """Some images by chance: rows of the images table, each with its `caption`."""
    if inputs.captions is None:
        return []
    ledger = ledger_for(inputs)
    images, order = ledger.rows(inputs.images, _OF_IMAGES), _place("image_id", inputs, "captions")
    return ledger.ask(
        f"SELECT {_named(_OF_IMAGES)}, caption FROM ({_captions(inputs)}) JOIN {images} USING (image_id) "
        f"ORDER BY {order} LIMIT {count}"
    ).to_pylist()


def draw_captions(inputs: ReportInputs, words: Sequence[set[str]], count: int) -> list[list[str]]:
    """For each set of words some different captions by chance that say all of it."""
    found: list[list[str]] = [[] for _ in words]
    if inputs.captions is None:
        return found
    order = _place("image_id", inputs, "domains")
    different = f"SELECT caption FROM ({_captions(inputs)}) GROUP BY caption ORDER BY min({order})"
    for batch in ledger_for(inputs).batches(different):
        for caption in batch.column(0).to_pylist():
            said = set(words_of(caption))
            for wanted, captions in zip(words, found, strict=True):
                if len(captions) < count and wanted <= said:
                    captions.append(caption)
        if all(len(captions) == count for captions in found):
            break
    return found


# -------------------------------------------------------------------- edits


def keep_edits(inputs: ReportInputs) -> str:
    """The wanted edits as a relation: scores, seconds, `verdict` by the filters of now, whether they are `added`.

    Before there are thresholds the verdicts are those that were written with the edits.
    """
    ledger = ledger_for(inputs)
    if inputs.thresholds:
        rows = verdict(ledger, inputs.judge, inputs.thresholds, _scored(inputs, inputs.judge))
    else:
        rows = _scored(inputs, inputs.judge, "verdict")
    selected = ledger.keep("report, selected", pa.table({"edit_id": inputs.selected}))
    added = f"edit_id IN (SELECT edit_id FROM {selected}) AS added"
    return ledger.keep("report, edits", f"SELECT *, {added} FROM ({rows})")


def _scored(inputs: ReportInputs, judge: Judge, *others: str) -> str:
    """SQL of the wanted edits, with what filters go by."""
    ledger, names = ledger_for(inputs), ["edit_id", "image_id", *scores_of(judge), *_SECONDS, *others]
    if inputs.edits is None:
        return f"SELECT * FROM {ledger.given(pa.schema([EDITS.field(name) for name in names]).empty_table())}"
    rows = f"SELECT {_named(names)} FROM {ledger.rows(inputs.edits, names)}"
    return rows if inputs.wanted is None else f"{rows} SEMI JOIN ({inputs.wanted}) USING (edit_id)"


def count_edits(inputs: ReportInputs, edits: str) -> pa.Table:
    """label, domain_id, verdict, how many edits (`count`) have them, and how many of those are `added`."""
    counted = "count(*) AS count, count(*) FILTER (added) AS added"
    return ledger_for(inputs).ask(
        f"SELECT label, domain_id, verdict, {counted} FROM {edits} GROUP BY ALL ORDER BY ALL"
    )


def seconds_of(inputs: ReportInputs, edits: str) -> float:
    """Of workers, editing and judging."""
    rows = ledger_for(inputs).ask(f"SELECT {_named(_SECONDS)} FROM {edits} ORDER BY edit_id").combine_chunks()
    return sum(pc.sum(column).as_py() or 0.0 for column in rows.columns)


def count_verdicts(inputs: ReportInputs, judge: Judge) -> dict[str, int]:
    """verdict -> how many of the wanted edits get it under some filters."""
    ledger = ledger_for(inputs)
    rows = verdict(ledger, judge, inputs.thresholds, _scored(inputs, judge))
    counted = ledger.ask(f"SELECT verdict, count(*) AS count FROM ({rows}) GROUP BY verdict").to_pylist()
    return {row["verdict"]: row["count"] for row in counted}


def draw_sources(inputs: ReportInputs, edits: str, count: int) -> list[str]:
    """The ids of some images by chance that were edited."""
    order = _place("image_id", inputs, "sources")
    images = f"SELECT DISTINCT image_id FROM {edits}"
    return ledger_for(inputs).column(f"SELECT image_id FROM ({images}) ORDER BY {order} LIMIT {count}")


def edits_under(inputs: ReportInputs, edits: str, sources: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the edits of some images, by id."""
    some = ledger_for(inputs).given(pa.table({"image_id": pa.array(sources, pa.string())}))
    return _edits(inputs, f"SELECT * FROM {edits} SEMI JOIN {some} USING (image_id) ORDER BY edit_id")


def draw_edits(inputs: ReportInputs, edits: str, verdict: str, count: int) -> list[dict[str, Any]]:
    """Rows of some edits by chance that have a verdict."""
    order = _place("edit_id", inputs, "verdicts")
    return _edits(inputs, f"SELECT * FROM {edits} WHERE verdict = '{verdict}' ORDER BY {order} LIMIT {count}")


def _edits(inputs: ReportInputs, rows: str) -> list[dict[str, Any]]:
    """Whole rows of a few edits, without their pictures, with their verdicts and whether they are added."""
    ledger = ledger_for(inputs)
    found = ledger.ask(f"SELECT edit_id, verdict, added FROM ({rows})").to_pylist()
    if inputs.edits is None or not found:
        return []
    homes = ledger.homes(inputs.edits, [row["edit_id"] for row in found])
    stored = (row for some in stream(inputs.edits.uri, homes, _SHOWN) for row in some.to_pylist())
    whole = {row["edit_id"]: row for row in stored}
    return [{**whole[row["edit_id"]], **row} for row in found]
