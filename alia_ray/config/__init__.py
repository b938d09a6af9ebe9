"""What a run is: a pydantic model for each section of its YAML file, and the names that arms and filters have."""

from alia_ray.config.edit import Edit
from alia_ray.config.identity import fingerprint, plain
from alia_ray.config.llm import Llm
from alia_ray.config.run import (
    Caption,
    Config,
    Crop,
    Discover,
    Experiment,
    Judge,
    Pixels,
    Run,
    Train,
    as_yaml,
    load_config,
    parse_config,
)
from alia_ray.config.sections import ConfigError, Model, Pool, Section

__all__ = [
    "Caption",
    "Config",
    "ConfigError",
    "Crop",
    "Discover",
    "Edit",
    "Experiment",
    "Judge",
    "Llm",
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
