"""What sections of a configuration are made of, and the error that says what is wrong with one."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from alia_ray.config.places import Name, Revision


class ConfigError(ValueError):
    """A configuration that cannot be run. The message is one sentence for a person."""


class Section(BaseModel):
    """Plain data that cannot be changed; a key that it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Count = Annotated[int, Field(ge=1)]


def _one_card_or_whole_ones(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError("must be a share of one GPU, up to 1, or a whole number: Ray gives out no other")
    return gpus


Gpus = Annotated[float, AfterValidator(_one_card_or_whole_ones)]


class Model(Section):
    """A model to load.

    `name` is a hub id, a local folder, `miniature:NAME` (small weights that ship with this package),
    `random:ARCHITECTURE` (the real architecture and size with seeded random weights), or `simulated` (no model).
    `revision` of a hub id: none means that of the hub's branch main, or what this machine has of it.
    `dtype` "auto" is float16 on a GPU and float32 on a CPU.
    """

    name: Name = Field(description="a hub id, a local folder, miniature:NAME, random:ARCHITECTURE, or simulated")
    revision: Revision = Field(
        None, description="branch, tag or commit of a hub id; none: that of main, or what is cached"
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="auto: float16 on a GPU, float32 on a CPU"
    )

    @property
    def is_simulated(self) -> bool:
        """Whether it does no work."""
        return self.name.partition(":")[0] == "simulated"


class Pool(Section):
    """An actor pool: how many workers, what each holds, and how many rows it works on at once."""

    workers: Count | Literal["auto"] = Field("auto", description="auto: as many as the cluster has room for")
    gpus_per_worker: Gpus = Field(1.0, gt=0, description="ignored on a cluster without GPUs")
    cpus_per_worker: float = Field(1.0, gt=0, description="more where decoding keeps a GPU waiting")
    batch_size: int = Field(16, ge=1, description="rows at once; less where a GPU runs out of memory")
