"""What every section of a configuration is, and the error that says what is wrong with one."""

from pydantic import BaseModel, ConfigDict


class ConfigError(ValueError):
    """A configuration that cannot be run. The message is one sentence for a person."""


class Section(BaseModel):
    """Plain data that cannot be changed; a key that it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)
