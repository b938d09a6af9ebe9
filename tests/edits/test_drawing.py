"""The queries of the ledger give what is told in plain Python, row for row."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
import reference_draw
from reference_draw import select

from alia_ray.config import load_config
from alia_ray.edits import drawing
from alia_ray.edits.attempts import Attempt
from alia_ray.edits.drawing import Asked
from alia_ray.edits.requests import plan_edits, requests_of
from alia_ray.edits.verdicts import Limit, judged
from alia_ray.llm.discover import domain_rows
from alia_ray.miniature.recipes import DEMO
from alia_ray.store.ledger import Ledger
from alia_ray.store.run_folder import RunFolder, Table
from alia_ray.store.tables import DOMAINS, EDITS, IMAGES, content_id

SETTINGS = load_config(DEMO, ["judge.positives=[a bird]", "judge.negatives=[noise]"])
LABELS = ["red_bird", "7", "Ünïcode 鳥", 'it\'s "quoted" {}']
PROMPTS = [f"a photo of a {{}} {place}" for place in ("in the snow", "at night — ночью", "by the sea", "'; --")]
THRESHOLDS = {label: 0.2 + 0.2 * place for place, label in enumerate(LABELS)}


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    yield ledger
    ledger.close()


def asked_of(folder: Path, images: int = 60, **changes: object) -> Asked:
    chance = random.Random(1)
    rows = [
        {
            "image_id": content_id("image", str(number)),
            "label": LABELS[number % len(LABELS)],
            "split": "val" if number % 7 == 6 else "train",
            "width": chance.choice([48, 96, 640]),
            "height": chance.choice([48, 72, 480]),
        }
        for number in range(images)
    ]
    run = RunFolder(str(folder))
    table, target = run.table("images", "i"), run.table("edits", "e")
    for start in range(0, images, 16):
        table.commit(pa.Table.from_pylist(rows[start : start + 16], schema=IMAGES))
    domains = pa.Table.from_pylist(domain_rows(PROMPTS, [], "a photo of a {}", 0), schema=DOMAINS)
    plan = plan_edits(domains, SETTINGS.edit, 3)
    defaults = {"name": "discovered", "seed": 5, "judge": SETTINGS.judge, "thresholds": THRESHOLDS}
    return Asked(**{**defaults, "images": table, "plan": plan, "target": target, **changes})


def in_python(asked: Asked) -> list[reference_draw.Request]:
    columns = ["image_id", "label", "group", "split", "width", "height"]
    return reference_draw.in_order(requests_of(asked.images.read(columns), asked.plan), asked.seed)


def edits_of(asked: Asked, share: float, kept: float = 0.5) -> None:
    """Make a share of the requested edits, with scores by chance; and some that nobody asks for."""
    chance, made = random.Random(2), []
    for request in in_python(asked):
        if chance.random() < share:
            fails, is_kept = chance.random() < 0.05, chance.random() < kept
            probability = chance.random()
            made.append(
                {
                    **{name: getattr(request, name) for name in ("edit_id", "image_id", "domain_id", "label")},
                    "semantic_text": None if fails else chance.choice(["a bird", "a bird", "noise"]),
                    "predicted_label": request.label if is_kept else chance.choice([*LABELS, None]),
                    "confidence": None if fails else probability,
                    "label_rank": chance.randint(1, 4),
                    "class_probabilities": None if fails else [chance.random() for _ in LABELS],
                    "unsafe": chance.choice([None, False, True]),
                    "error": "no good" if fails else None,
                    "image_bytes": None if fails or chance.random() < 0.2 else 9,
                }
            )
    made += [{**row, "edit_id": content_id("other", row["edit_id"])} for row in made[::5]]
    for start in range(0, len(made), 16):
        asked.target.commit(pa.Table.from_pylist(made[start : start + 16], schema=EDITS))


def outcomes_in_python(asked: Asked, requests: list[reference_draw.Request]) -> dict[str, bool]:
    rows = asked.target.read()
    rows = rows.filter(pa.compute.is_in(rows["edit_id"], pa.array([each.edit_id for each in requests])))
    verdicts = judged(rows, dict(asked.thresholds), asked.judge)

    def has_picture(verdict: str) -> bool:
        return verdict == "kept" or (asked.keeps_rejected and verdict not in ("error", "unsafe"))

    sizes = zip(rows["edit_id"].to_pylist(), rows["image_bytes"].to_pylist(), verdicts, strict=True)
    return {key: verdict == "kept" for key, size, verdict in sizes if size is not None or not has_picture(verdict)}


def test_requests_have_the_ids_and_the_order_of_the_plan(ledger, tmp_path):
    asked = asked_of(tmp_path)
    found = ledger.ask(f"SELECT * FROM {drawing.requests(ledger, asked)} ORDER BY draw").to_pylist()
    names = {
        "edit_id": "edit_id",
        "image_id": "image_id",
        "domain_id": "domain_id",
        "label": "label",
        "draw": "key",
    }
    expected = [{name: getattr(each, of) for name, of in names.items()} for each in in_python(asked)]
    assert len(expected) > 200
    assert [{name: row[name] for name in names} for row in found] == expected


@pytest.mark.parametrize("keeps_rejected", [True, False])
@pytest.mark.parametrize("rule", ["paper", "code", "top_k", "within_domain"])
@pytest.mark.parametrize(
    "filters", [[], ["too_similar"], ["mislabelled", "semantic"], ["semantic", "too_similar", "mislabelled"]]
)
def test_outcomes_are_those_of_the_filters(ledger, tmp_path, rule, filters, keeps_rejected):
    judge = SETTINGS.judge.model_copy(update={"confidence_rule": rule, "filters": filters, "top_k": 2})
    asked = asked_of(tmp_path, judge=judge, keeps_rejected=keeps_rejected)
    edits_of(asked, share=0.7)
    wanted = drawing.requests(ledger, asked)
    found = {
        row["edit_id"]: row["survived"] for row in ledger.ask(drawing.outcomes(ledger, asked, wanted)).to_pylist()
    }
    assert found == outcomes_in_python(asked, in_python(asked))
    assert len(set(found.values())) == 2


LIMITS: list[Limit] = [None, 0, 5, 30, 10_000, {"red_bird": 3, "7": 0, "nobody": 4}, dict.fromkeys(LABELS, 6)]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("limit", LIMITS, ids=str)
@pytest.mark.parametrize(
    ("per_image", "drop_below"), [(1, None), (2, None), (None, None), (1, 0.5), (2, 0.5), (None, 0.5)]
)
def test_what_is_tried_and_needed_is_that_of_the_plain_functions(
    ledger, tmp_path, monkeypatch, per_image, drop_below, limit, share
):
    for module in (reference_draw, drawing):
        monkeypatch.setattr(module, "TRIES", 7)
    judge = SETTINGS.judge.model_copy(update={"filters": ["semantic"]})
    asked = asked_of(tmp_path, judge=judge, per_image=per_image, limit=limit, drop_below=drop_below)
    edits_of(asked, share)
    requests = in_python(asked)
    made = outcomes_in_python(asked, requests)
    if drop_below and share == 0.9:  # the tries are whole
        for request in reference_draw.pilot(requests):
            made.setdefault(request.edit_id, len(request.edit_id) % 2 == 1)
        known = pa.table({"edit_id": list(made), "survived": list(made.values())})
        ledger.rows(asked.target, [])
        monkeypatch.setattr(
            drawing,
            "outcomes",
            lambda ledger, asked, of: f"SELECT * FROM {ledger.given(known)} SEMI JOIN {of} USING (edit_id)",
        )
    how = (per_image, limit, drop_below)
    within = drawing.gone_through(ledger, asked)
    needed = set(ledger.column(f"SELECT edit_id FROM {within} WHERE is_needed"))
    assert needed == reference_draw.needed(requests, made, *how)
    rows = ledger.ask(f"SELECT * FROM ({drawing.left_to_try(within)}) ORDER BY draw").to_pylist()
    found: dict[str, list[Attempt]] = {}
    for row in rows:
        found.setdefault(row["image_id"], []).append(Attempt(row["edit_id"], row["survived"]))
    place = {request.edit_id: number for number, request in enumerate(requests)}
    expected = {  # the order matters not where prompts are tried, since all of those attempts are made
        image_id: sorted(tries, key=lambda each: place[each.edit_id])
        for image_id, tries in reference_draw.still_to_try(requests, made, *how).items()
    }
    if per_image is None and drop_below is None:  # what has survived counts for nothing
        expected = {image: [each for each in tries if each.survived is None] for image, tries in expected.items()}
        found = {image: [each for each in tries if each.survived is None] for image, tries in found.items()}
    assert found == expected


@pytest.mark.parametrize("per_image", [None, 1, 2])
@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_what_is_selected_is_that_of_the_plain_function(ledger, tmp_path, per_image, limit):
    asked = asked_of(tmp_path)
    edits_of(asked, share=0.8)
    wanted = drawing.requests(ledger, asked)
    rows = asked.target.read()
    rows = rows.filter(pa.compute.is_in(rows["edit_id"], pa.array([each.edit_id for each in in_python(asked)])))
    verdicts = judged(rows, THRESHOLDS, asked.judge)
    survivors = pa.table(
        {"edit_id": [k for k, v in zip(rows["edit_id"].to_pylist(), verdicts, strict=True) if v == "kept"]}
    )
    kept = f"SELECT * FROM {wanted} SEMI JOIN {ledger.given(survivors)} USING (edit_id)"
    found = sorted(ledger.column(f"SELECT edit_id FROM ({drawing.selected(ledger, kept, per_image, limit)})"))
    assert found == select(rows, verdicts, per_image, limit, asked.seed)


def test_rows_of_files_that_come_go_and_are_rewritten_are_known(ledger, tmp_path):
    table: Table = asked_of(tmp_path, images=20).images

    def known() -> list[dict]:
        return ledger.ask(
            f"SELECT image_id, label FROM {ledger.rows(table, ['label'])} ORDER BY image_id"
        ).to_pylist()

    def there() -> list[dict]:
        return table.read(["image_id", "label"]).to_pylist()

    assert known() == there()
    [first, *_] = known()
    table.correct({first["image_id"]: {"label": "7 "[:1]}})
    assert known() == there()
    table.discard({first["image_id"]})
    assert known() == there()
    table.commit(pa.Table.from_pylist([first], schema=IMAGES))
    assert known() == there()
    Path(table.files()[0]).write_bytes(b"damaged")
    assert known() == there()
    assert 0 < len(known()) < 20
