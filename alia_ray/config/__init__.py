"""What a run is: a pydantic model for each section of its YAML file, and the names that arms and filters have."""

from alia_ray.config.edit import Edit
from alia_ray.config.identity import fingerprint, plain
from alia_ray.config.llm import Llm
from alia_ray.config.run import (
    Caption,
    Config,
    Discover,
    Experiment,
    Judge,
    Run,
    as_yaml,
    load_config,
    parse_config,
)
from alia_ray.config.sections import ConfigError, Model, Pool, Section
from alia_ray.config.train import ColorJitter, Crop, Metric, Pixels, Train

__all__ = [
    "Caption",
    "ColorJitter",
    "Config",
    "ConfigError",
    "Crop",
    "Discover",
    "Edit",
    "Experiment",
    "Judge",
    "Llm",
    "Metric",
    "Model",
    "Pixels",
    "Pool",
    "Run",
    "Section",
    "Train",
    "as_yaml",
    "fingerprint",
    "load_config",
    "parse_config",
    "plain",
]
