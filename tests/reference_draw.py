"""Which edits are tried, needed and drawn, edit by edit in plain Python: what `edits/drawing.py` must give.

`select` draws the survivors of an image in the order of their `draw_key`. Trying its prompts in that order and
stopping at the k-th survivor therefore ends with the same edits as trying all and drawing k survivors.
With a limit on how many edits are added, the attempts of a class are gone through in that order as far as needed.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from alia_ray.edits.attempts import Attempt
from alia_ray.edits.drawing import LEAST_ACCEPTANCE, TRIES
from alia_ray.edits.verdicts import Limit
from alia_ray.store.tables import draw_key


@dataclass(frozen=True)
class Request:
    """The part of an edit request that its turn depends on."""

    edit_id: str
    image_id: str
    domain_id: str
    label: str
    key: str


def in_order(requests: pa.Table, seed: int) -> list[Request]:
    """Requests as they are drawn."""
    columns = (requests.column(name).to_pylist() for name in ("edit_id", "image_id", "domain_id", "label"))
    rows = [Request(*row, key=draw_key(seed, row[0])) for row in zip(*columns, strict=True)]
    return sorted(rows, key=lambda request: request.key)


def still_to_try(
    requests: Sequence[Request],
    survived: Mapping[str, bool],
    per_image: int | None,
    limit: Limit = None,
    drop_below: float | None = None,
    of_pilot: Mapping[str, bool] | None = None,
) -> dict[str, list[Attempt]]:
    """image_id -> what the next wave tries of it, in order; empty when nothing is missing.

    requests: all of a run, as `in_order` gives them. survived: edit_id -> whether it survived, of those made.
    per_image: how many survivors an image needs; None: every attempt is made, whatever the limit.
    drop_below: first every prompt is tried on TRIES images; those of which a smaller share survives are given up.
    of_pilot: the outcomes of those tries, where they depend on which other edits there are; none: as `survived`.

    What a wave tries depends on the outcomes of the earlier ones alone, so a run that was killed, or had other
    workers, goes through the same waves.
    """
    found: dict[str, list[Attempt]] = {}
    for part, each in _within_reach(requests, survived, per_image, limit, drop_below, of_pilot):
        if each is None:  # the survivors of a pilot are not counted against what an image needs
            part = [request for request in part if request.edit_id not in survived]
        found |= _attempts(part, survived, each)
    return found


def needed(requests: Sequence[Request], survived: Mapping[str, bool], *how: Any) -> set[str]:
    """The attempts of a run from its first wave to its last, as far as the outcomes are known.

    how: the other arguments of `still_to_try`. Whatever else was made, by a stricter filter or for another seed,
    is not among them: what a run took and gave depends on its configuration alone.
    """
    found: set[str] = set()
    for part, each in _within_reach(requests, survived, *how):
        for attempts in _of_images(part, survived).values():
            found |= {attempt.edit_id for attempt in _until_survivors(attempts, each)}
    return found


def _within_reach(
    requests: Sequence[Request],
    survived: Mapping[str, bool],
    per_image: int | None,
    limit: Limit = None,
    drop_below: float | None = None,
    of_pilot: Mapping[str, bool] | None = None,
) -> Iterator[tuple[Sequence[Request], int | None]]:
    """The requests that are gone through, each part with how many survivors an image needs of it; None: all."""
    if drop_below is not None:
        tries = pilot(requests)
        yield tries, None
        if any(request.edit_id not in survived for request in tries):
            return
        dropped = given_up(requests, survived if of_pilot is None else of_pilot, drop_below)
        requests = [request for request in requests if request.edit_id not in dropped]
    if per_image is None or limit is None:
        yield requests, per_image
    elif isinstance(limit, int):
        yield _as_far_as_needed(requests, survived, per_image, limit), per_image
    else:
        for label, most in limit.items():
            of_class = [request for request in requests if request.label == label]
            yield _as_far_as_needed(of_class, survived, per_image, most), per_image


def given_up(requests: Sequence[Request], survived: Mapping[str, bool], below: float) -> set[str]:
    """The attempts under prompts of whose first TRIES a share below `below` survived, but for those tries."""
    tries = pilot(requests)
    hopeless = {name for name, share in acceptance(tries, survived).items() if share < below}
    tried = {request.edit_id for request in tries}
    return {r.edit_id for r in requests if r.domain_id in hopeless and r.edit_id not in tried}


def acceptance(requests: Sequence[Request], survived: Mapping[str, bool]) -> dict[str, float]:
    """domain_id -> the share of its made attempts that survived."""
    made: dict[str, list[bool]] = {}
    for request in requests:
        if request.edit_id in survived:
            made.setdefault(request.domain_id, []).append(survived[request.edit_id])
    return {domain: sum(outcomes) / len(outcomes) for domain, outcomes in made.items()}


def pilot(requests: Sequence[Request]) -> list[Request]:
    """The first TRIES attempts of each prompt."""
    of_domain: dict[str, list[Request]] = {}
    for request in requests:
        of_domain.setdefault(request.domain_id, []).append(request)
    return [request for found in of_domain.values() for request in found[:TRIES]]


def _attempts(
    requests: Sequence[Request], survived: Mapping[str, bool], per_image: int | None
) -> dict[str, list[Attempt]]:
    """The attempts of each image that lacks some, up to the last that can be needed; without rejected ones."""
    found = {}
    for image_id, attempts in _of_images(requests, survived).items():
        tries = _until_survivors(attempts, per_image)
        if any(attempt.survived is None for attempt in tries):
            found[image_id] = [attempt for attempt in tries if attempt.survived is not False]
    return found


def _of_images(requests: Sequence[Request], survived: Mapping[str, bool]) -> dict[str, list[Attempt]]:
    """The attempts of each image, in their order."""
    found: dict[str, list[Attempt]] = {}
    for request in requests:
        found.setdefault(request.image_id, []).append(Attempt(request.edit_id, survived.get(request.edit_id)))
    return found


def _until_survivors(attempts: list[Attempt], wanted: int | None) -> list[Attempt]:
    """The attempts up to the one that is known to be the `wanted`-th survivor; None: all."""
    survivors = 0
    for number, attempt in enumerate(attempts, start=1):
        survivors += attempt.survived is True
        if survivors == wanted:
            return attempts[:number]
    return attempts


def _as_far_as_needed(
    requests: list[Request], survived: Mapping[str, bool], per_image: int, limit: int
) -> list[Request]:
    """The shortest part of `requests`, from the first on, of which `limit` survive, as far as is known."""
    reach, tried, kept = 0, 0, 0
    while kept < limit and reach < len(requests):
        share = max(kept / tried, LEAST_ACCEPTANCE) if tried else 1.0
        reach = _further(requests, survived, per_image, reach, math.ceil((limit - kept) / share))
        if _attempts(requests[:reach], survived, per_image):
            break
        tried, kept = _tally(requests[:reach], survived, per_image)
    return requests[:reach]


def _further(requests: list[Request], survived: Mapping[str, bool], per_image: int, reach: int, more: int) -> int:
    """How far beyond `reach` to go for `more` attempts, if every one of those survived."""
    kept: Counter[str] = Counter()
    for number, request in enumerate(requests):
        if number < reach:
            kept[request.image_id] += bool(survived.get(request.edit_id))
        elif kept[request.image_id] < per_image:
            kept[request.image_id] += 1
            more -= 1
            if more == 0:
                return number + 1
    return len(requests)


def _tally(requests: list[Request], survived: Mapping[str, bool], per_image: int) -> tuple[int, int]:
    """How many attempts the images needed, and how many of those survived."""
    kept: Counter[str] = Counter()
    tried = 0
    for request in requests:
        if kept[request.image_id] < per_image:
            tried += 1
            kept[request.image_id] += bool(survived.get(request.edit_id))
    return tried, kept.total()


def select(
    edits: pa.Table, verdict: Sequence[str], edits_per_image: int | None, limit: Limit, seed: int
) -> list[str]:
    """The ids of the kept edits that are added to the training set, sorted.

    Draws by a hash of the seed and the ids, so neither order nor number of workers matters, and two filters that
    keep the same edit draw it alike: of each image at most `edits_per_image` survivors, then of those as many as
    `limit` allows.
    """
    columns = (edits.column(name).to_pylist() for name in ("edit_id", "image_id", "label"))
    kept = [row for row, v in zip(zip(*columns, strict=True), verdict, strict=True) if v == "kept"]
    kept.sort(key=lambda row: draw_key(seed, row[0]))
    if edits_per_image is not None:
        kept = _first_of_each(kept, 1, dict.fromkeys({image_id for _, image_id, _ in kept}, edits_per_image))
    if isinstance(limit, Mapping):
        kept = _first_of_each(kept, 2, limit)
    elif limit is not None:
        kept = kept[:limit]
    return sorted(edit_id for edit_id, _, _ in kept)


def _first_of_each(
    rows: list[tuple[str, str, str]], column: int, limits: Mapping[str, int]
) -> list[tuple[str, str, str]]:
    """The first rows of each value of a column, as many as its limit; none of a value without one."""
    taken: Counter[str] = Counter()
    first = []
    for row in rows:
        if taken[row[column]] < limits.get(row[column], 0):
            taken[row[column]] += 1
            first.append(row)
    return first
