"""What a run would do, before it takes a GPU: pools, rows and disk."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from alia_ray.checks import disk, names, nodes, resources, texts, unread
from alia_ray.checks.comparison import arms_of
from alia_ray.checks.inputs import listing_of, refuse
from alia_ray.checks.splits import doubtful_things
from alia_ray.cluster.memory import caption_needs, edit_needs, loading_text, sections, uncounted
from alia_ray.cluster.placement import GB, Cluster, Needs, place
from alia_ray.config import Config, Pool
from alia_ray.models.methods import models_of
from alia_ray.models.sizes import parameters
from alia_ray.plain_text import plain_line
from alia_ray.progress import duration, number_of, rate_text, say
from alia_ray.sources import notes
from alia_ray.sources.listing import count_of
from alia_ray.state import State, so_far
from alia_ray.store.run_folder import RunFolder
from alia_ray.store.tables import SPLITS


def check_fits(settings: Config, cluster: Cluster, listing: pa.Table) -> None:
    """Raise one ConfigError for all that the cluster could never schedule or its nodes lack, before any stage."""
    refuse([misfits(settings, cluster, listing), nodes.wrong_things(settings)])
    for doubt in disk.doubtful_things(settings, cluster, listing):
        say(doubt)


def misfits(settings: Config, cluster: Cluster, listing: pa.Table | None = None) -> Iterator[str]:
    """A sentence for each stage that the cluster could never schedule, and one for a disk that is too small.

    listing: the source's; without it neither the disk nor the memory that training's images take is counted.
    """
    images = 0 if listing is None else count_of(listing, "train") + count_of(listing, "val")
    yield from resources.wrong_things(settings, cluster, images)
    if listing is not None:
        yield from disk.wrong_things(settings, cluster, listing)


def describe(settings: Config, cluster: Cluster, listing: pa.Table | None = None) -> str:
    """A plan as text. `listing`: the source's, where it was listed before.

    Raises ConfigError when a stage cannot be scheduled.
    """
    listing = listing_of(settings, listing)
    check_fits(settings, cluster, listing)
    splits = Counter({split: count_of(listing, split) for split in SPLITS})
    prompts = settings.discover.prompts
    domains = len(prompts) if prompts else settings.discover.max_domains
    attempts = disk.most_edits(settings, splits["train"])
    tries_all = settings.edit.edits_per_image == "all" or settings.draws_from_all
    most = "" if prompts and tries_all else "at most "
    captioners = _pool("caption", settings.caption, cluster, caption_needs(settings, cluster))
    editors = _pool("edit", settings.edit, cluster, edit_needs(settings, cluster))
    lines = [
        f"cluster   {cluster.cpus:g} logical CPUs, {cluster.gpus:g} GPUs",
        f"images    {splits.total()}: {', '.join(f'{splits[name]} {name}' for name in SPLITS if splits[name])}",
        *([f"trial     {settings.trial}"] if settings.trial else []),
        f"caption   {splits['train'] if not prompts else 0} images, {captioners}",
        f"discover  {'your prompts' if prompts else f'at most {domains} prompts from {settings.llm.model.name}'}",
        f"edit      {most}{attempts} edits of {settings.edit.size}² pixels with {settings.edit.method}, "
        f"{editors}; {disk.kept_edits(settings, listing)} kept as {settings.edit.format} if enough survive",
        f"train     {number_of(len(settings.train.arms), 'arms')} ({', '.join(settings.train.arms)}) of "
        f"{number_of(settings.train.epochs, 'epochs')}, {number_of(settings.train.workers, 'workers')}; "
        f"{loading_text(settings.train, splits['train'] + splits['val'], cluster)}",
        *_experiment(settings, listing),
        *_time(settings, attempts, place("edit", settings.edit, cluster, edit_needs(settings, cluster)).workers),
        _disk(settings, cluster, listing),
        _models(settings),
        *(f"note      {note}" for note in notes(listing)),
        *(f"note      {doubt}" for doubt in doubtful_things(settings, listing)),
        *(f"note      {doubt}" for doubt in unread.doubtful_things(settings)),
        *_not_counted(settings),
        f"folder    {settings.run.folder}",
        *names.describe(settings, listing),
        *texts.doubtful_things(settings, listing),
    ]
    return "\n".join(map(plain_line, lines))


def _experiment(settings: Config, listing: pa.Table) -> list[str]:
    """The line of an experiment, if there is one; arms that come to the same are trained once."""
    if settings.experiment is None:
        return []
    arms, seeds = len(arms_of(settings, listing)), len(settings.experiment.seeds)
    return [f"compare   {arms} arms × {seeds} seeds: at most {arms * seeds} trainings"]


def _pool(stage: str, pool: Pool, cluster: Cluster, needs: Needs) -> str:
    placement = place(stage, pool, cluster, needs)
    on = f"{placement.num_gpus:g} GPU" if placement.num_gpus else f"{placement.num_cpus:g} CPU"
    memory = f" and about {needs.memory / GB:.1f} GB"
    return f"{number_of(placement.workers, 'workers')} of {on}{memory}, batches of {pool.batch_size}"


def _time(settings: Config, attempts: int, workers: int) -> list[str]:
    """How long the edits take, if some are there to tell; of other machines nothing is known."""
    state = State(settings)
    judged = so_far(lambda: state.judged_edits("edit_seconds", "judge_seconds"))
    if judged is None:
        return []
    [took] = state.ledger.ask(
        "SELECT count(*) AS made, coalesce(sum(edit_seconds), 0) + coalesce(sum(judge_seconds), 0) AS seconds "
        f"FROM ({judged})"
    ).to_pylist()
    if not (made := took["made"]):
        return []
    each = took["seconds"] / made
    left = max(0, attempts - made)
    return [
        f"time      {rate_text(1 / max(each, 1e-9))} for an edit, as {made} in this folder took; at most "
        f"{left} others take {duration(left * each / workers)} with {number_of(workers, 'workers')}"
    ]


def _disk(settings: Config, cluster: Cluster, listing: pa.Table) -> str:
    free = disk.free_bytes(RunFolder(settings.run.folder))
    there = "" if free is None else f"; {free / GB:.0f} GB are free there"
    return f"disk      about {disk.said(disk.parts(settings, cluster, listing))} more{there}"


def _models(settings: Config) -> str:
    """The line of the models with their parameters."""
    known = {
        f"{place}.{key}": model
        for place, section in sections(settings)
        for key, model in models_of(section).items()
    }
    if settings.discover.prompts is None and settings.llm.base_url is None:
        known["llm.model"] = settings.llm.model
    sizes = {key: parameters(model) for key, model in known.items()}
    return "models    " + ", ".join(
        f"{key} {known[key].name} ({_millions(size) if size else 'not on this machine yet'})"
        for key, size in sizes.items()
    )


def _millions(parameters: int) -> str:
    millions = parameters / 1e6
    return f"{millions:.0f} M" if millions >= 10 else f"{millions:.2g} M"


def _not_counted(settings: Config) -> list[str]:
    """The line that says which models' memory is not in the plan."""
    unknown = ", ".join(uncounted(settings))
    return [f"memory    not counted, for it is not on this machine yet: {unknown}"] if unknown else []
