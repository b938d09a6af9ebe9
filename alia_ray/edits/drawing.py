"""Which edits are asked for, tried next, needed and drawn, over all images at once: queries of the ledger.

An edit's `draw` is its place in a seeded random order (`tables.draw_key`). An image's prompts are tried in that
order until enough survive, and survivors are added to training in it, so trying ends with the same edits as trying
all would. Where a limit says how many are added, the attempts up to some draw are gone through, the *cut*: no
further than brings so many survivors, as far as outcomes are known. The same is done image by image, and told in
plain Python, in tests/reference_draw.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from alia_ray.config import Judge
from alia_ray.edits.requests import Plan, parameters_of
from alia_ray.edits.verdicts import Limit, judged
from alia_ray.store.ledger import Ledger, hashed, literal, quoted
from alia_ray.store.run_folder import Table
from alia_ray.store.tables import as_hashed

TRIES = 40  # attempts after which a prompt's acceptance is believed
LEAST_ACCEPTANCE = 0.05  # what a wave reckons with at the least, so that it stays bounded
SCORES = ("label", "domain_id", "semantic_text", "predicted_label", "confidence", "label_rank", "unsafe", "error")
_BETWEEN = ("within_domain",)  # of judge.confidence_rule: an edit's verdict depends on the others


@dataclass(frozen=True)
class Asked:
    """A set of edits that a configuration asks for, and how far it goes."""

    name: str  # of the set; a run has few
    images: Table
    plan: Plan
    target: Table  # where they are committed
    seed: int  # of the draw
    judge: Judge
    thresholds: Mapping[str, float] = field(default_factory=dict)
    per_image: int | None = None  # survivors that an image needs; None: every attempt is made
    limit: Limit = None  # how many survivors are added to training, beyond which none is looked for
    drop_below: float | None = None  # the share of a prompt's first TRIES below which it is given up
    keeps_rejected: bool = False
    again: str | None = None  # a relation of edits (`edit_id`) that count as not made


def requests(ledger: Ledger, asked: Asked) -> str:
    """Every edit that is asked for: image_id, label, domain_id, edit_id, draw."""
    images = ledger.rows(asked.images, ["label", "split", "width", "height"])
    token = repr((asked.plan, asked.seed, ledger.state_of(asked.images)))
    return ledger.keep_once(
        f"requests/{asked.name}", token, lambda: _requests(ledger, images, asked.plan, asked.seed)
    )


def _requests(ledger: Ledger, images: str, plan: Plan, seed: int) -> tuple[str, dict[str, bytes]]:
    labels = ledger.column(f"SELECT DISTINCT label FROM {images} WHERE split = 'train'")
    prompts = [
        {"label": label, "domain_id": domain, "prompt": as_hashed(plan.prompt(template, label))}
        for label in labels
        for domain, template in plan.domains
    ]
    of_label = pa.schema([("label", pa.string()), ("domain_id", pa.string()), ("prompt", pa.binary())])
    of_labels = ledger.given(pa.Table.from_pylist(prompts, schema=of_label))
    shapes = ledger.ask(f"SELECT DISTINCT width, height FROM {images} WHERE split = 'train'")
    how = parameters_of(plan)
    hows = [as_hashed(how[shape["width"], shape["height"]]) for shape in shapes.to_pylist()]
    of_shapes = ledger.given(shapes.append_column("how", pa.array(hows, pa.binary())))
    query = f"""
        WITH described AS (
            SELECT image_id, label, how, {hashed("image_id")} AS id
            FROM {images} JOIN {of_shapes} USING (width, height) WHERE split = 'train'
        ), seeded AS (
            SELECT image_id, label, domain_id, id, prompt, how,
                (('0x' || sha256($seed || id || prompt || $run)[:16])::UBIGINT >> 1)::VARCHAR AS seed
            FROM described JOIN {of_labels} USING (label)
        ), named AS (
            SELECT image_id, label, domain_id,
                sha256(id || prompt || $method || how || {hashed("seed")})[:32] AS edit_id
            FROM seeded
        )
        SELECT image_id, label, domain_id, edit_id, sha256($select || encode(edit_id))[:32] AS draw FROM named
        """
    return query, {
        "seed": as_hashed("seed"),
        "run": as_hashed(str(plan.seed)),
        "method": as_hashed(plan.method),
        "select": as_hashed("select", str(seed)) + as_hashed("0" * 32)[:8],
    }


# -------------------------------------------------------------------- verdicts


def scores_of(judge: Judge) -> list[str]:
    """The columns of the edits table that verdicts depend on."""
    return [*SCORES, *(["class_probabilities"] if judge.confidence_rule in _BETWEEN else [])]


def verdict(ledger: Ledger, judge: Judge, thresholds: Mapping[str, float], rows: str) -> str:
    """SQL of some scored edits with their `verdict`, as `verdicts.verdicts` gives it. rows: SQL."""
    if judge.confidence_rule in _BETWEEN:
        found = ledger.given(_between(ledger, judge, thresholds, rows))
        return f"SELECT * FROM ({rows}) JOIN {found} USING (edit_id)"
    known = pa.table({"of": pa.array(thresholds, pa.string()), "t": pa.array(thresholds.values(), pa.float64())})
    t = ledger.given(known)
    positives = ledger.given(pa.table({"text": pa.array(list(judge.positives), pa.string())}))
    own, theirs = (f"coalesce(({_threshold(t, name)}), 'infinity')" for name in ("label", "predicted_label"))
    agrees, confidence = "label IS NOT DISTINCT FROM predicted_label", "nullif(confidence::DOUBLE, 'NaN'::DOUBLE)"
    drops = {
        "semantic": f"semantic_text IS NOT NULL AND semantic_text NOT IN (SELECT text FROM {positives})",
        "mislabelled": {
            "paper": f"NOT ({agrees}) AND {confidence} > {theirs}",
            "code": f"NOT ({agrees}) AND {confidence} > {own}",
            "top_k": f"label_rank > {judge.top_k}",
        }[judge.confidence_rule],
        "too_similar": f"{agrees} AND {confidence} > {own}",
    }
    cases = [f"WHEN {drops[name]} THEN '{name}'" for name in drops if name in judge.filters]
    first = "WHEN error IS NOT NULL THEN 'error' WHEN unsafe THEN 'unsafe'"
    return f"SELECT *, CASE {' '.join([first, *cases])} ELSE 'kept' END AS verdict FROM ({rows})"


def _between(ledger: Ledger, judge: Judge, thresholds: Mapping[str, float], rows: str) -> pa.Table:
    """`edit_id` and `verdict` of edits that are compared with each other; by domain, for their scores are wide."""
    found = [pa.table({"edit_id": pa.array([], pa.string()), "verdict": pa.array([], pa.string())})]
    for domain in ledger.column(f"SELECT DISTINCT domain_id FROM ({rows}) ORDER BY domain_id"):
        edits = ledger.ask(f"SELECT * FROM ({rows}) WHERE domain_id = {literal(domain)} ORDER BY edit_id")
        verdicts = pa.array(judged(edits, dict(thresholds), judge), pa.string())
        found.append(edits.select(["edit_id"]).append_column("verdict", verdicts))
    return pa.concat_tables(found)


def _threshold(thresholds: str, name: str) -> str:
    return f"SELECT any_value(t) FROM {thresholds} WHERE of = {name}"


def outcomes(ledger: Ledger, asked: Asked, of: str) -> str:
    """edit_id and whether it `survived` the filters, of those of some requests that are made.

    One without a picture that should have one, which other settings have not kept, is not made. What else the
    table holds has no say: a filter may compare edits with each other.
    """
    columns = scores_of(asked.judge)
    rows = ledger.rows(asked.target, [*columns, "image_bytes"])
    named = ", ".join(map(quoted, ["edit_id", *columns, "image_bytes"]))
    there = f"SELECT {named} FROM {rows} SEMI JOIN {of} USING (edit_id)"
    if asked.again is not None:
        there += f" ANTI JOIN {asked.again} USING (edit_id)"
    has_picture = "verdict NOT IN ('error', 'unsafe')" if asked.keeps_rejected else "verdict = 'kept'"
    told = verdict(ledger, asked.judge, asked.thresholds, there)
    return (
        f"SELECT edit_id, verdict = 'kept' AS survived FROM ({told}) "
        f"WHERE image_bytes IS NOT NULL OR NOT ({has_picture})"
    )


# -------------------------------------------------------------------- what is gone through


def gone_through(ledger: Ledger, asked: Asked) -> str:
    """The attempts that are within reach, as far as outcomes are known.

    A relation of image_id, label, domain_id, edit_id, draw and survived (null: not made), with
    `is_needed`: whether the attempt lies before its image has its survivors, and
    `is_left`: whether the next wave hands it to a worker if it takes up the image: what is not made, and what has
    survived already and so counts.
    """
    name, wanted = f"within/{asked.name}", requests(ledger, asked)
    found = outcomes(ledger, asked, wanted)  # which reads what is new
    token = repr((replace(asked, name=""), ledger.state_of(asked.images), ledger.state_of(asked.target)))
    if asked.again is not None:
        token += ledger.token_of(asked.again)
    return ledger.keep_once(name, token, lambda: (_gone_through(ledger, asked, wanted, found), {}))


def _gone_through(ledger: Ledger, asked: Asked, wanted: str, found: str) -> str:
    known = ledger.keep("outcomes", found)
    tried = f"SELECT * FROM {wanted} LEFT JOIN {known} USING (edit_id)"
    if asked.drop_below is not None:
        tried = ledger.keep("tried", f"SELECT *, {_place_in('domain_id')} <= {TRIES} AS pilot FROM ({tried})")
        if ledger.number(f"SELECT count(*) FROM {tried} WHERE pilot AND survived IS NULL"):
            flags = "survived IS NULL AS is_left, true AS is_needed"
            return f"SELECT * EXCLUDE (pilot), {flags} FROM {tried} WHERE pilot"
        pilot = ledger.keep("pilot", f"SELECT * FROM {tried} WHERE pilot")
        among = outcomes(ledger, asked, pilot)  # compared with each other alone
        given_up = ledger.keep(
            "given up",
            f"SELECT domain_id FROM (SELECT domain_id, edit_id FROM {pilot}) JOIN ({among}) USING (edit_id) "
            f"GROUP BY domain_id HAVING avg(survived::INT) < {asked.drop_below}",
        )
        left = f"SELECT * FROM {tried} WHERE pilot OR domain_id NOT IN (SELECT domain_id FROM {given_up})"
        within = _needed(ledger, asked, f"SELECT * EXCLUDE (pilot) FROM ({left})")
        within = ledger.keep("within the cuts", within)
        return (
            f"SELECT * REPLACE (is_needed OR edit_id IN (SELECT edit_id FROM {pilot}) AS is_needed) FROM {within} "
            f"UNION ALL BY NAME SELECT * EXCLUDE (pilot), false AS is_left, true AS is_needed FROM {pilot} "
            f"ANTI JOIN {within} USING (edit_id)"
        )
    return _needed(ledger, asked, tried)


def _place_in(group: str) -> str:
    return f"row_number() OVER (PARTITION BY {group} ORDER BY draw)"


def _needed(ledger: Ledger, asked: Asked, tried: str) -> str:
    """SQL of the attempts within the cuts, with `is_left` and `is_needed`."""
    if asked.per_image is None:
        return f"SELECT *, survived IS NULL AS is_left, true AS is_needed FROM ({tried})"
    if asked.limit is not None:
        tried = ledger.keep("tried by cut", f"SELECT *, {_stratum(asked.limit)} AS stratum FROM ({tried})")
        cuts = _cuts(ledger, tried, asked.per_image, asked.limit)
        tried = f"SELECT * EXCLUDE (stratum, cut) FROM {tried} JOIN {cuts} USING (stratum) WHERE draw <= cut"
    goes = f"before < {asked.per_image}"
    left = f"{goes} AND survived IS DISTINCT FROM false"
    return f"SELECT * EXCLUDE (before), {left} AS is_left, {goes} AS is_needed FROM ({_with_before(tried)})"


def _with_before(tried: str) -> str:
    """SQL of some attempts with how many of their image are known to have survived `before` them."""
    return (
        "SELECT *, coalesce(sum(survived::INT) OVER (PARTITION BY image_id ORDER BY draw "
        f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before FROM ({tried})"
    )


def _stratum(limit: Limit) -> str:
    """Of what the limits are: SQL of a column."""
    return "label" if isinstance(limit, Mapping) else "''"


def _cuts(ledger: Ledger, tried: str, per_image: int, limit: Limit) -> str:
    """Up to which draw the attempts of each stratum are gone through: relation of stratum and cut."""
    limits = dict(limit) if isinstance(limit, Mapping) else {"": limit}
    cuts, tallies = dict.fromkeys(limits, ""), dict.fromkeys(limits, (0, 0))
    ends = _rows(ledger, f"SELECT stratum, max(draw) AS last FROM {tried} GROUP BY stratum")
    last = {row["stratum"]: row["last"] for row in ends}
    open_ones = [name for name in limits if name in last and limits[name] > 0]
    while open_ones:
        more = {name: _more(*tallies[name], limits[name]) for name in open_ones}
        cuts |= _further(ledger, tried, per_image, {name: (cuts[name], more[name]) for name in open_ones}, last)
        found = _tally(ledger, tried, per_image, {name: cuts[name] for name in open_ones})
        for name, (tries, kept, _) in found.items():
            tallies[name] = (tries, kept)
        open_ones = [
            name
            for name in open_ones
            if not found[name][2] and tallies[name][1] < limits[name] and cuts[name] < last[name]
        ]
    known = pa.table({"stratum": pa.array(cuts, pa.string()), "cut": pa.array(cuts.values(), pa.string())})
    return ledger.given(known)


def _rows(ledger: Ledger, query: str) -> list[dict]:
    return ledger.ask(query).to_pylist()


def _more(tried: int, kept: int, limit: int) -> int:
    """How many attempts a wave goes on for, by the share that survived so far."""
    share = max(kept / tried, LEAST_ACCEPTANCE) if tried else 1.0
    return math.ceil((limit - kept) / share)


def _further(
    ledger: Ledger, tried: str, per_image: int, steps: Mapping[str, tuple[str, int]], last: Mapping[str, str]
) -> dict[str, str]:
    """stratum -> how far beyond its cut to go for so many more attempts, if every one of those survived."""
    columns = {
        "stratum": pa.array(steps, pa.string()),
        "cut": pa.array([cut for cut, _ in steps.values()], pa.string()),
        "more": pa.array([more for _, more in steps.values()], pa.int64()),
    }
    now = ledger.given(pa.table(columns))
    query = f"""
        WITH open AS (SELECT * FROM {tried} JOIN {now} USING (stratum)),
        known AS (
            SELECT image_id, count(*) AS kept FROM open WHERE draw <= cut AND survived GROUP BY image_id
        ), useful AS (
            SELECT stratum, draw, more FROM open LEFT JOIN known USING (image_id) WHERE draw > cut
            QUALIFY {_place_in("image_id")} <= {per_image} - coalesce(kept, 0)
        )
        SELECT stratum, draw FROM useful QUALIFY {_place_in("stratum")} = more
        """
    reached = {row["stratum"]: row["draw"] for row in _rows(ledger, query)}
    return {name: reached.get(name, last[name]) for name in steps}


def _tally(
    ledger: Ledger, tried: str, per_image: int, cuts: Mapping[str, str]
) -> dict[str, tuple[int, int, bool]]:
    """stratum -> how many attempts its images needed, how many of those survived, whether any is not made yet."""
    known = pa.table({"stratum": pa.array(cuts, pa.string()), "cut": pa.array(cuts.values(), pa.string())})
    inside = f"SELECT * FROM {tried} JOIN {ledger.given(known)} USING (stratum) WHERE draw <= cut"
    query = (
        "SELECT stratum, count(*) AS tries, count(*) FILTER (survived) AS kept, "
        f"bool_or(survived IS NULL) AS lacks FROM ({_with_before(inside)}) "
        f"WHERE before < {per_image} GROUP BY stratum"
    )
    return {row["stratum"]: (row["tries"], row["kept"], row["lacks"]) for row in _rows(ledger, query)}


# -------------------------------------------------------------------- what follows from that


def left_to_try(within: str) -> str:
    """SQL of what the next wave tries, of images that lack some: image_id, edit_id, draw and survived.

    within: of `gone_through`.
    """
    return (
        f"SELECT image_id, edit_id, draw, survived FROM {within} WHERE is_left AND image_id IN "
        f"(SELECT image_id FROM {within} WHERE is_left AND survived IS NULL)"
    )


def selected(ledger: Ledger, kept: str, per_image: int | None, limit: Limit) -> str:
    """SQL of the survivors that are added to the training set: `edit_id` and `label`.

    kept: SQL of survivors with image_id, label and draw. Of each image the first `per_image` by their draw, then
    of those as many as `limit` allows.
    """
    if per_image is not None:
        kept = f"SELECT * FROM ({kept}) QUALIFY {_place_in('image_id')} <= {per_image}"
    if isinstance(limit, Mapping):
        names, most = pa.array(limit, pa.string()), pa.array(limit.values(), pa.int64())
        limits = ledger.given(pa.table({"label": names, "most": most}))
        kept = f"SELECT * FROM ({kept}) JOIN {limits} USING (label) QUALIFY {_place_in('label')} <= most"
    elif limit is not None:
        kept = f"SELECT * FROM ({kept}) ORDER BY draw LIMIT {limit}"
    return f"SELECT edit_id, label FROM ({kept})"
