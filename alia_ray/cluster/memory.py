"""What a worker of each pool needs of its node's memory and of its card's: an estimate for sizing pools.

    need = a process with its libraries + weights × bytes of the dtype + activations of a batch

Weights are counted from the checkpoints' headers. The other two were measured with models of real size by
benchmarks/worker_memory.py, and rounded up; docs/cluster.md shows its output. A model whose checkpoint is not on
this machine counts as nothing, and is said.
"""

from collections.abc import Iterator

from alia_ray.cluster.placement import GB, Cluster, Needs, most_trainers
from alia_ray.config import Config, Model, Section, Train
from alia_ray.models.methods import models_of
from alia_ray.models.naming import is_random
from alia_ray.models.sizes import CLASSIFIERS, CONTROLNET_SD15, LARGE_CLASSIFIER, parameters

PROCESS = 1.1 * GB
"""Python, Ray, torch, diffusers and transformers, before any model."""
CUDA_CONTEXT = 0.6 * GB
"""What CUDA and torch's kernels take of a card before any model; not measured, there was no GPU."""
EDIT_ACTIVATIONS = 1.5 * GB
"""Of one picture of 512² pixels in float32 under Stable Diffusion 1.5; its VAE's decoder takes the most."""
CAPTION_ACTIVATIONS = 0.1 * GB
"""Of one picture in float32 under BLIP-large, which sees 384² pixels."""
TRAIN_ACTIVATIONS = 0.11 * GB
"""Of one picture of 224² pixels in float32 under ResNet-50, forward and backward."""
_SD15, _BLIP, _RESNET50 = 1.07e9, 4.46e8, 2.56e7  # parameters of these: a smaller model takes less in proportion
_COPIES = 4  # of a classifier in training: weights, gradients, momentum, and the state of a checkpoint
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def caption_needs(settings: Config, cluster: Cluster) -> Needs:
    """Of a captioner."""
    caption = settings.caption
    size = parameters(caption.model) or 0
    each = CAPTION_ACTIVATIONS * min(1, size / _BLIP)
    return _needs(cluster, size * _bytes_of(caption.model, cluster), each, caption.batch_size)


def edit_needs(settings: Config, cluster: Cluster) -> Needs:
    """Of a worker that edits and judges."""
    edit = settings.edit
    size = parameters(edit.model) or 0
    each = EDIT_ACTIVATIONS * edit.size**2 / 512**2 * min(1, size / _SD15)
    if edit.method == "controlnet":
        size += CONTROLNET_SD15 if is_random(edit.model.name) else parameters(edit.controlnet) or 0
    weights = size * _bytes_of(edit.model, cluster) + _judges(settings, cluster)
    return _needs(cluster, weights, each, edit.batch_size)


def judge_needs(settings: Config, cluster: Cluster) -> Needs:
    """Of a worker that judges edits that are there."""
    each = CAPTION_ACTIVATIONS * min(1, (parameters(settings.judge.model) or 0) / _BLIP)
    return _needs(cluster, _judges(settings, cluster), each, settings.edit.batch_size)


def train_needs(train: Train, images: int, cluster: Cluster) -> Needs:
    """Of a trainer: with its share of `images` decoded, unless it streams them."""
    return _trainer(train, cluster) if streams(train, images, cluster) else _with_share(train, images, cluster)


def streams(train: Train, images: int, cluster: Cluster) -> bool:
    """Whether the trainers of a training on `images` stream them: as `train.loading` says.

    With `auto` where the nodes have no memory for so many workers with their shares. Where their memory is not
    known, they have.
    """
    if train.loading != "auto":
        return train.loading == "stream"
    return most_trainers(train, cluster, _with_share(train, images, cluster)) < train.workers


def loading_text(train: Train, images: int, cluster: Cluster) -> str:
    """Where trainers have their images, how much that takes, and why, for the person."""
    size = f"{share_bytes(train, images) / GB:.1f} GB for each worker"
    if not streams(train, images, cluster):
        return f"decoded images in memory, {size}"
    why = "train.loading is stream" if train.loading == "stream" else "no memory holds them beside the model"
    return f"decoded images streamed from the disk of the worker's node, {size}: {why}"


def share_bytes(train: Train, images: int) -> int:
    """What a trainer's share of `images` takes decoded, in memory or on its node's disk."""
    return -(-images // train.workers) * 3 * train.image_size**2


def _with_share(train: Train, images: int, cluster: Cluster) -> Needs:
    """Of a trainer that holds its share in memory."""
    needs = _trainer(train, cluster)
    return Needs(needs.memory + share_bytes(train, images), needs.gpu_memory)


def _trainer(train: Train, cluster: Cluster) -> Needs:
    """Of a trainer without any image but those of a batch."""
    size = CLASSIFIERS.get(train.architecture, LARGE_CLASSIFIER)
    each = TRAIN_ACTIVATIONS * train.image_size**2 / 224**2 * size / _RESNET50
    return _needs(cluster, _COPIES * 4 * size, each, train.batch_size // train.workers, halves=False)


def uncounted(settings: Config) -> Iterator[str]:
    """The keys and names of the models whose size is not known here."""
    for place, section in sections(settings):
        for key, model in models_of(section).items():
            if parameters(model) is None:
                yield f"{place}.{key}={model.name}"


def sections(settings: Config) -> Iterator[tuple[str, Section]]:
    """Those whose models a pool loads."""
    if settings.discover.prompts is None:
        yield "caption", settings.caption
    yield "edit", settings.edit
    if settings.needs_text_to_image:
        yield "baselines.text_to_image", settings.baselines.text_to_image
    yield "judge", settings.judge


def _needs(cluster: Cluster, weights: float, activations: float, batch: int, halves: bool = True) -> Needs:
    """A worker's needs; on a GPU models are loaded through the node's memory and leave it again.

    halves: on a card that is too small the batch is halved down to one picture, so more is not needed there.
    """
    if not cluster.gpus:
        return Needs(memory=PROCESS + weights + activations * batch)
    at_once = 1 if halves else batch
    return Needs(PROCESS + weights, CUDA_CONTEXT + weights + activations / 2 * at_once)


def _judges(settings: Config, cluster: Cluster) -> float:
    """Bytes of the weights of CLIP, the base classifier and the safety checker, if any."""
    classifier = 4 * CLASSIFIERS.get(settings.train.architecture, LARGE_CLASSIFIER)
    models = models_of(settings.judge).values()
    return classifier + sum((parameters(each) or 0) * _bytes_of(each, cluster) for each in models)


def _bytes_of(model: Model, cluster: Cluster) -> int:
    """Bytes of a weight in the dtype that `pick_dtype` gives."""
    return _BYTES.get(model.dtype, 2 if cluster.gpus else 4)
