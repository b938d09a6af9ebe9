"""Scores of edits by CLIP, the base classifier and a safety checker, if any; one object per worker."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from alia_ray.config import Judge


class Scorer:
    """Holds the judges on one device, by default a GPU where there is one."""

    def __init__(self, judge: Judge, classifier_folder: str, device: torch.device | None = None) -> None:
        from alia_ray.models.classifier import load_classifier
        from alia_ray.models.clip import ClipJudge
        from alia_ray.models.loading import pick_device

        self.device = device or pick_device()
        self.texts = [*judge.positives, *judge.negatives]
        self.positives = len(judge.positives)
        self.clip = ClipJudge(judge.model, judge.positives, judge.negatives, self.device)
        self.classifier = load_classifier(classifier_folder, self.device)
        self.safety = None
        if judge.safety_checker is not None:
            from alia_ray.models.safety import SafetyChecker

            self.safety = SafetyChecker(judge.safety_checker, self.device)

    @torch.inference_mode()
    def score(self, images: Sequence[torch.Tensor], labels: list[str]) -> list[dict[str, Any]]:
        """The score columns of each edit, and why there are none ("error"): a NaN passes every filter.

        images: N of float (3, H, W) in [0, 1], of any sizes; labels: the edits' classes.
        """
        started = time.perf_counter()
        images = [image.to(self.device) for image in images]
        semantic = self.clip.score(images).cpu()
        classes = self.classifier.classes
        probabilities = self.classifier.probabilities(images).cpu()
        own = torch.tensor([classes.index(label) for label in labels])
        own_probability = probabilities.gather(1, own[:, None]).squeeze(1)
        is_finite = semantic.isfinite().all(dim=1) & probabilities.isfinite().all(dim=1)
        unsafe = self.safety.flags(images) if self.safety else [None] * len(labels)
        seconds = (time.perf_counter() - started) / len(labels)
        return [
            {
                "semantic_score": float(semantic[i, : self.positives].sum()),
                "semantic_text": self.texts[int(semantic[i].argmax())],
                "predicted_label": classes[int(probabilities[i].argmax())],
                "confidence": float(probabilities[i].max()),
                "label_probability": float(own_probability[i]),
                "label_rank": int((probabilities[i] > own_probability[i]).sum()) + 1,
                "class_probabilities": probabilities[i].tolist(),
                "unsafe": unsafe[i],
                "judge_seconds": seconds,
                "error": None if is_finite[i] else "a judge's scores are not finite",
            }
            for i in range(len(labels))
        ]
