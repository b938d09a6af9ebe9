"""What an experiment leaves, smaller."""

from typing import Any

METRICS = ("accuracy", "class_balanced_accuracy", "worst_group_accuracy")


def arm(
    value: float, to: str | None = None, control: str | None = None, amount: float | None = None
) -> dict[str, Any]:
    def versus(name: str) -> dict[str, Any]:
        return {
            "to": name,
            "mean": dict.fromkeys(METRICS, 0.1),
            "interval": {key: [0.05, 0.2] for key in METRICS},
            "p": dict.fromkeys(METRICS, 0.03),
        }

    return {
        "mean": dict.fromkeys(METRICS, value),
        "std": dict.fromkeys(METRICS, 0.012),
        "interval": {key: [value - 0.1, value + 0.1] for key in METRICS},
        "seeds": [{"seed": 0, "added": 10}, {"seed": 1, "added": 12}],
        "difference": versus(to) if to else None,
        "control": versus(control) if control else None,
        "amount": amount,
    }


RESULT = {
    "seeds": [0, 1],
    "fresh_draws": True,
    "equal_steps": False,
    "num_extra": "extra",
    "test_images": 480,
    "arms": {
        "original": arm(0.5),
        "alia": arm(0.7, "original", "alia_control"),
        "alia_control": arm(0.6, "original"),
        "alia@0.5": arm(0.65, "original", amount=0.5),
        "alia@2": arm(0.8, "original", amount=2),
    },
}
