"""What a run is: one pydantic model per stage. A YAML file is these and nothing else.

Every mistake in a configuration becomes a `ConfigError` of one sentence that names the key and says what to
change; nothing here imports torch or Ray, so a mistake is found before anything starts.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from alia_ray.config.arms import ARMS
from alia_ray.config.edit import Edit, Scheduler
from alia_ray.config.filters import ConfidenceRule, Filter
from alia_ray.config.llm import Llm
from alia_ray.config.mistakes import sentences, text_that_says_none
from alia_ray.config.overriding import override
from alia_ray.config.places import Place, check_all, check_no_secrets
from alia_ray.config.reading import read_yaml
from alia_ray.config.sections import ConfigError, Count, Model, Pool, Section
from alia_ray.config.source import Source
from alia_ray.config.train import ArmName, Train
from alia_ray.errors import one_line


def _has_one_place(prompt: str) -> str:
    if prompt.count("{}") != 1:
        raise ValueError(f"the prompt {prompt!r} needs exactly one {{}}, where the class name goes")
    return prompt


Prompt = Annotated[str, AfterValidator(_has_one_place)]
Prompts = Annotated[list[Prompt], Field(min_length=1)]


class Run(Section):
    """Where a run lies and how it meets the cluster."""

    folder: Place = Field(description="the run folder; a path, or a URI that pyarrow's filesystems know")
    seed: int = Field(0, description="of the LLM, of the edits, and of trainings where train.seed is none")
    address: Annotated[str, AfterValidator(check_no_secrets)] | None = Field(
        None,
        description="Ray address; none joins a running cluster or starts Ray here, local starts it in any case",
    )
    accelerator: Literal["auto", "gpu", "cpu"] = Field(
        "auto", description="auto: GPUs where the cluster has any; gpu: refused without; cpu: none are used"
    )
    gpus: int | None = Field(None, ge=1, description="wait for so many, and ask an autoscaling cluster for them")
    gpu_timeout_s: float = Field(1800, gt=0, description="how long to wait for run.gpus")
    max_error_rate: float = Field(0.05, ge=0, le=1, description="a stage with a larger share of errors fails")
    retry_errors: bool = Field(False, description="try rows again that failed for good in an earlier run")
    source_changes: Literal["follow", "refuse", "ignore"] = Field(
        "follow", description="what to do where pictures were added, deleted, moved, replaced or relabelled"
    )

    def without_gpus(self) -> "Run":
        """The same for what computes nothing: no GPU is waited for, and none is tried."""
        return self.model_copy(update={"gpus": None, "accelerator": "cpu"})

    @model_validator(mode="after")
    def _gpus_are_used(self) -> "Run":
        if self.gpus and self.accelerator == "cpu":
            raise ValueError("gpus waits for GPUs that accelerator='cpu' would not use; drop one of them")
        return self


class Caption(Pool):
    """BLIP over the training images (paper, section 3.1)."""

    model: Model = Model(name="Salesforce/blip-image-captioning-large")
    prefix: str | None = Field(None, description="conditional captioning: every caption goes on from this text")
    max_new_tokens: int = Field(20, ge=1, description="the longest caption, in tokens")


class Discover(Section):
    """Summarising captions into fewer than ten class-agnostic prompts (paper, section 3.1)."""

    prompts: Prompts | None = Field(None, description="your own prompts, each with {}; skips the LLM")
    prefix: Prompt = Field("a photo of a {}", description="the form of every prompt; {} is the class's place")
    captions: Count | Literal["all"] = Field(200, description="how many captions the LLM reads")
    max_domains: int = Field(9, ge=1, le=9, description="how many prompts are kept at most")
    max_tokens: int = Field(1024, ge=16, description="the longest answer of the LLM, in tokens")
    temperature: float = Field(0.0, ge=0, description="of the LLM; 0: always the likeliest word")


class Judge(Section):
    """Scores of every edit, and the filters over them (paper, section 3.3)."""

    model: Model = Model(name="hf-hub:timm/vit_large_patch14_clip_224.openai")
    positives: list[str] = Field(
        ["a photo"], min_length=1, description="what an edit may look most like to CLIP, say `a photo of a bird`"
    )
    negatives: list[str] = Field(
        ["a photo of an object", "a photo of geometric shapes", "an image", "a painting"],
        min_length=1,
        description="an edit that looks most like one of these fails the semantic filter",
    )
    filters: list[Filter] = Field(["semantic"], description="which of the verdicts drop an edit")
    confidence_rule: ConfidenceRule = Field(
        "paper",
        description="t of the predicted class (paper) or of the label (code: the authors' newest commit), top_k, "
        "or within_domain",
    )
    top_k: int = Field(2, ge=1, description="top_k: mislabelled when the label is not among the k likeliest")
    safety_checker: Model | None = Field(
        None, description="drop what it flags, as CompVis/stable-diffusion-safety-checker does; none: ask none"
    )

    @model_validator(mode="after")
    def _no_text_is_both(self) -> "Judge":
        positives, negatives = (  # as CLIP reads them
            {" ".join(text.lower().split()) for text in texts} for texts in (self.positives, self.negatives)
        )
        if both := positives & negatives:
            raise ValueError(f"{min(both)!r} is among the positives and the negatives; leave it out of one")
        return self


class Select(Section):
    """Which surviving edits are added to the training set."""

    edits_per_image: Count | Literal["all"] = Field(
        1, description="how many surviving edits of an image are added at most"
    )
    num_extra: Count | Literal["all", "extra"] = Field(
        "all",
        description="how many edits at most are added; extra: as many of each class as the split `extra` has",
    )
    class_balanced: bool = Field(False, description="num_extra, a number, is shared equally among the classes")

    @model_validator(mode="after")
    def _shares_a_number(self) -> "Select":
        if self.class_balanced and not isinstance(self.num_extra, int):
            raise ValueError(
                f"class_balanced shares out a number, not num_extra={self.num_extra}; give one of them"
            )
        return self


class TextToImage(Section):
    """Images from nothing but the user's prompts, the baseline; what is not said here is as in `edit`."""

    model: Model = Model(name="stable-diffusion-v1-5/stable-diffusion-v1-5")
    scheduler: Scheduler = Field("own", description="own: the checkpoint's")
    steps: int = Field(50, ge=1, description="denoising steps")
    guidance_scale: float = Field(7.5, ge=0, description="how much the prompt counts")


class Baselines(Section):
    """What the arms need that ALIA is compared with."""

    user_prompts: Prompts = Field(["a photo of a {}"], description="of alia_user_prompts and text_to_image")
    text_to_image: TextToImage = TextToImage()


class Experiment(Section):
    """`alia-ray experiment`: arms × seeds × amounts over one run folder."""

    arms: list[ArmName] | None = Field(
        None,
        description="what is compared, each filtered arm beside its control; none: all that the source can feed",
    )
    seeds: list[int] = Field([0, 1, 2], min_length=1, description="each is a train.seed of its own")
    fresh_draws: bool = Field(False, description="the miniature: paint every split anew for each seed")
    amounts: list[Annotated[float, Field(gt=0)]] = Field(
        [], description="edits for each training image at which `amount_arms` are trained as well"
    )
    amount_arms: list[ArmName] = Field(["alia"], description="which arms are trained at each of `amounts`")

    @model_validator(mode="after")
    def _nothing_is_there_twice(self) -> "Experiment":
        called = {"seeds": self.seeds, "arms": self.arms or [], "amount_arms": self.amount_arms}
        for key, values in {**called, "amounts": [f"{amount:g}" for amount in self.amounts]}.items():
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"{key}: {twice[0]} is there twice, and would count twice; leave one out")
        return self

    @model_validator(mode="after")
    def _amounts_are_of_edits(self) -> "Experiment":
        for name in self.amount_arms:
            if ARMS[name].edits is None:
                raise ValueError(f"amount_arms: {name} adds no edits, so there is no amount of them; leave it out")
        return self


class Config(Section):
    """A whole run."""

    run: Run
    source: Source
    caption: Caption = Caption()
    llm: Llm = Llm()
    discover: Discover = Discover()
    edit: Edit = Edit()
    judge: Judge = Judge()
    select: Select = Select()
    baselines: Baselines = Baselines()
    train: Train = Train()
    experiment: Experiment | None = Field(
        None, description="what `alia-ray experiment` compares; no other command reads it"
    )

    @property
    def draws_from_all(self) -> bool:
        """Whether something needs every edit to be tried, the rejected ones too.

        That is an arm with filters of its own, a filter that compares edits with each other, or taking all.
        """
        compares = "mislabelled" in self.judge.filters and self.judge.confidence_rule == "within_domain"
        return self.has_other_filters or compares or self.select.edits_per_image == "all"

    @property
    def trial(self) -> str | None:
        """What is to be said wherever results show that come of a part of the images or of simulated models."""
        named = ("caption", "llm", "edit", "judge")
        simulated = [f"{name}.model" for name in named if getattr(self, name).model.is_simulated]
        of_models = [f"a trial of simulated models ({', '.join(simulated)}): its results mean nothing"]
        return "; ".join([*filter(None, [self.source.trial]), *(of_models if simulated else [])]) or None

    @property
    def needs_text_to_image(self) -> bool:
        """Whether an arm adds images of the baseline `text_to_image`."""
        return any(ARMS[name].edits == "text_to_image" for name in self.named_arms)

    @property
    def text_to_image(self) -> Edit:
        """How the images of the baseline `text_to_image` are made: what it does not say is as in `edit`."""
        given = self.baselines.text_to_image
        values = {name: getattr(given, name) for name in type(given).model_fields}
        return self.edit.model_copy(update={"method": "text_to_image", **values})

    @property
    def named_arms(self) -> list[str]:
        """The arms that are asked for by name, for a run or an experiment."""
        chosen = self.experiment
        return [*self.train.arms, *((chosen.arms or []) + chosen.amount_arms if chosen else [])]

    @property
    def has_other_filters(self) -> bool:
        """Whether an arm draws from the discovered edits by other filters than those of `judge`."""
        return any(ARMS[name].edits == "discovered" and ARMS[name].variant for name in self.train.arms)

    @property
    def seed(self) -> int:
        """Of the trainings and of the draw of edits."""
        return self.run.seed if self.train.seed is None else self.train.seed

    @model_validator(mode="after")
    def _stages_agree(self) -> "Config":
        if "original" not in self.train.arms:
            raise ValueError("train.arms must contain 'original': its classifier is the one that judges edits")
        if self.edit.method == "img2img" and int(self.edit.steps * self.edit.strength) < 1:
            raise ValueError("edit.steps × edit.strength must be at least 1, or Img2Img runs no step")
        is_unguided = self.edit.method == "instruct_pix2pix" and self.edit.guidance_scale <= 1
        if is_unguided and self.edit.image_guidance_scale != Edit.model_fields["image_guidance_scale"].default:
            raise ValueError(
                "edit.image_guidance_scale guides only where edit.guidance_scale is above 1; raise that"
            )
        sought, added = self.edit.edits_per_image, self.select.edits_per_image
        if isinstance(sought, int) and (self.draws_from_all or sought < added):
            raise ValueError(
                f"edit.edits_per_image: {sought} edits do not do for select.edits_per_image={added} and "
                "the filters that are configured or compared; leave it out"
            )
        if self.experiment and self.experiment.fresh_draws and not hasattr(self.source, "seed"):
            raise ValueError("experiment.fresh_draws: only the miniature can be drawn anew; leave it out")
        return self


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML file, apply `stage.key=value` overrides (values are YAML), and check it.

    Raises ConfigError for a missing file, broken YAML, a key that is unknown or repeated, or an impossible value.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except IsADirectoryError as error:
        inside = Path(path) / "config.yaml"
        meant = f"give {inside}" if inside.is_file() else f"of images `alia-ray init {path}` writes one"
        raise ConfigError(f"{path} is a folder where a configuration is asked for; {meant}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text in UTF-8 ({error.reason}); save it as one") from error
    try:
        tree = read_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(error)}") from error
    if tree is None:
        raise ConfigError(f"{path} is empty; `alia-ray init FOLDER` writes a configuration that runs")
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold the sections of a run (run, source, …), not {type(tree).__name__}")
    return parse_config(tree, overrides or [])


def parse_config(tree: dict[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Check a configuration given as plain data, after overrides. Raises ConfigError with one sentence."""
    if overrides:
        tree = deepcopy(tree)
    for each in overrides:
        override(tree, each, Config)
    try:
        settings = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(sentences(error, Config)) from error
    if key := text_that_says_none(settings):
        raise ConfigError(f"{key}: for none write null")
    for name, section in settings.model_dump(mode="json").items():
        try:
            check_all(section)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
    return settings


def as_yaml(settings: Config) -> str:
    """A configuration as the YAML that `load_config` reads, every default spelled out."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
