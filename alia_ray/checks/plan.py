"""What a run would do, before it takes a GPU: pools, rows and disk."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from alia_ray.checks import names, nodes, resources, texts
from alia_ray.checks.comparison import arms_of
from alia_ray.checks.inputs import listing_of, refuse
from alia_ray.checks.splits import doubtful_things
from alia_ray.cluster.memory import caption_needs, edit_needs, uncounted
from alia_ray.cluster.placement import GB, Cluster, Needs, place
from alia_ray.config import Config, Pool
from alia_ray.plain_text import plain_line
from alia_ray.progress import number_of
from alia_ray.store.tables import SPLITS

BYTES_PER_PIXEL = {"png": 1.6, "jpeg": 0.35, "webp": 0.3}
"""Encoded bytes per RGB pixel of a photograph, roughly; for the disk estimate only."""


def check_fits(settings: Config, cluster: Cluster, listing: pa.Table) -> None:
    """Raise one ConfigError for all that the cluster could never schedule or its nodes lack, before any stage."""
    refuse([misfits(settings, cluster, listing), nodes.wrong_things(settings)])


def misfits(settings: Config, cluster: Cluster, listing: pa.Table | None = None) -> Iterator[str]:
    """A sentence for each stage that the cluster could never schedule.

    listing: the source's; without it the memory that training's images take is not counted.
    """
    splits = listing.column("split").to_pylist() if listing is not None else []
    return resources.wrong_things(settings, cluster, images=splits.count("train") + splits.count("val"))


def describe(settings: Config, cluster: Cluster, listing: pa.Table | None = None) -> str:
    """A plan as text. `listing`: the source's, where it was listed before.

    Raises ConfigError when a stage cannot be scheduled.
    """
    listing = listing_of(settings, listing)
    check_fits(settings, cluster, listing)
    splits = Counter(listing.column("split").to_pylist())
    prompts = settings.discover.prompts
    domains = len(prompts) if prompts else settings.discover.max_domains
    attempts = splits["train"] * domains
    tries_all = settings.edit.edits_per_image == "all" or settings.draws_from_all
    most = "" if prompts and tries_all else "at most "
    gigabytes = attempts * settings.edit.size**2 * BYTES_PER_PIXEL[settings.edit.format] / 1e9
    captioners = _pool("caption", settings.caption, cluster, caption_needs(settings, cluster))
    editors = _pool("edit", settings.edit, cluster, edit_needs(settings, cluster))
    lines = [
        f"cluster   {cluster.cpus:g} CPUs, {cluster.gpus:g} GPUs",
        f"images    {splits.total()}: {', '.join(f'{splits[name]} {name}' for name in SPLITS if name in splits)}",
        *([f"trial     {settings.source.trial}"] if settings.source.trial else []),
        f"caption   {splits['train'] if not prompts else 0} images, {captioners}",
        f"discover  {'your prompts' if prompts else f'at most {domains} prompts from {settings.llm.model.name}'}",
        f"edit      {most}{attempts} edits of {settings.edit.size}² pixels with {settings.edit.method}, "
        f"{editors}; {most}about {max(gigabytes, 0.01):.2f} GB as {settings.edit.format}",
        f"train     {number_of(len(settings.train.arms), 'arms')} ({', '.join(settings.train.arms)}) of "
        f"{number_of(settings.train.epochs, 'epochs')}, {number_of(settings.train.workers, 'workers')}",
        *_experiment(settings, listing),
        *(f"note      {doubt}" for doubt in doubtful_things(settings, listing)),
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


def _not_counted(settings: Config) -> list[str]:
    """The line that says which models' memory is not in the plan."""
    unknown = ", ".join(uncounted(settings))
    return [f"memory    not counted, for it is not on this machine yet: {unknown}"] if unknown else []
