"""What a worker loads onto its device: the models that a configuration names, or simulated ones."""

from typing import TYPE_CHECKING

from alia_ray.cluster.devices import worker_device
from alia_ray.config import Caption, Edit, Judge
from alia_ray.models.simulated import SimulatedCaptioner, SimulatedEditor, SimulatedJudge

if TYPE_CHECKING:
    from alia_ray.models.captioner import Captioner
    from alia_ray.models.editor import Editor
    from alia_ray.stages.scoring import Scorer


def captioner_of(caption: Caption) -> "Captioner | SimulatedCaptioner":
    """What captions pictures."""
    if caption.model.is_simulated:
        return SimulatedCaptioner(caption.model.name)
    from alia_ray.models.captioner import Captioner

    return Captioner(caption.model, worker_device(), caption.prefix, caption.max_new_tokens)


def editor_of(edit: Edit) -> "Editor | SimulatedEditor":
    """What edits pictures."""
    if edit.model.is_simulated:
        return SimulatedEditor(edit.model.name)
    from alia_ray.models.editor import Editor

    return Editor(edit, worker_device())


def scorer_of(judge: Judge, classifier_folder: str) -> "Scorer | SimulatedJudge":
    """What scores edits: CLIP, the classifier of a folder, and a safety checker, if any."""
    if judge.model.is_simulated:
        return SimulatedJudge(judge)
    from alia_ray.stages.scoring import Scorer

    return Scorer(judge, classifier_folder, worker_device())
