"""What can be refused before Ray starts: inputs and models that are not there."""

from pathlib import Path

from alia_ray.config import Config, ConfigError, Model
from alia_ray.sources import list_images

WEIGHTS = Path(__file__).parent / "miniature" / "weights"


def check_inputs(settings: Config) -> None:
    """Raise ConfigError for a source that cannot be listed or a model whose folder does not exist."""
    models = {
        "caption.model.name": settings.caption.model,
        "edit.model.name": settings.edit.model,
        "judge.model.name": settings.judge.model,
    }
    if settings.discover.prompts is None and settings.llm.base_url is None:
        models["llm.model.name"] = settings.llm.model
        if settings.llm.model.name.startswith("random:"):
            raise ConfigError(
                "llm.model.name: random weights say nothing; name a real LLM, or give discover.prompts"
            )
    for key, model in models.items():
        _check_model(key, model)
    list_images(settings.source)


def _check_model(key: str, model: Model) -> None:
    if model.name.startswith("miniature:"):
        part = model.name.removeprefix("miniature:")
        known = sorted(folder.name for folder in WEIGHTS.iterdir() if folder.is_dir())
        if part not in known:
            raise ConfigError(f"{key}: there is no miniature model {part!r}; there are {', '.join(known)}")
    elif model.name.startswith((".", "/", "~")) and not Path(model.name).expanduser().is_dir():
        raise ConfigError(f"{key}: there is no folder {model.name}")
