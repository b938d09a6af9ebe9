"""How images are edited, as configuration."""

from typing import Any, Literal

from pydantic import Field, model_validator

from alia_ray.config.sections import Count, Model, Pool

Method = Literal["img2img", "instruct_pix2pix", "controlnet", "text_to_image"]
Scheduler = Literal["own", "dpm++", "ddim", "lcm"]
PRESETS: dict[str, dict[str, Any]] = {
    "lcm": {"scheduler": "lcm", "steps": 8, "guidance_scale": 8.0},
    "turbo": {"scheduler": "own", "steps": 4, "guidance_scale": 0.0},
}
"""What `edit.preset` fills in: for latent consistency models, and for models distilled by ADD (SD-Turbo)."""


class Edit(Pool):
    """Editing every training image under every prompt (paper, section 3.2)."""

    method: Method = Field("img2img", description="the pipeline; edit.model must be a checkpoint of it")
    model: Model = Model(name="stable-diffusion-v1-5/stable-diffusion-v1-5")
    preset: Literal["lcm", "turbo"] | None = Field(
        None, description="scheduler, steps and guidance of a few-step distillation, where they are not given"
    )
    scheduler: Scheduler = Field("own", description="own: the checkpoint's")
    steps: int = Field(50, ge=1, description="Img2Img runs strength × steps of them")
    strength: float = Field(0.6, gt=0, le=1, description="Img2Img: how much of the image is noised")
    guidance_scale: float = Field(7.5, ge=0, description="how much the prompt counts")
    image_guidance_scale: float = Field(1.2, ge=1, description="InstructPix2Pix: how close to the source")
    controlnet: Model = Field(
        Model(name="lllyasviel/sd-controlnet-canny"), description="ControlNet: the network that sees the edges"
    )
    controlnet_scale: float = Field(1.0, ge=0, description="ControlNet: how much the edges count")
    canny_thresholds: tuple[int, int] = Field((100, 200), description="ControlNet: of Canny's hysteresis")
    size: int = Field(
        512, ge=8, multiple_of=8, description="an edit has about size² pixels, in the shape of its source"
    )
    format: Literal["png", "jpeg", "webp"] = Field(
        "png", description="of the pictures kept; png loses nothing; jpeg and webp are smaller"
    )
    compile: bool = Field(False, description="torch.compile, minutes once for each worker; needs a C++ compiler")
    edits_per_image: Count | Literal["all"] | None = Field(
        None,
        description="an image's prompts are tried until so many edits survive the filters, or all of them are; "
        "none: as many as select.edits_per_image, or all where something draws from all",
    )
    keep_rejected: bool = Field(False, description="keep the pictures of rejected edits, beside their scores")
    drop_prompt_below: float | None = Field(
        None, ge=0, le=1, description="give up a prompt of whose first 40 edits a smaller share survives"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, given: Any) -> Any:
        named = given.get("preset") if isinstance(given, dict) else None
        return {**PRESETS[named], **given} if isinstance(named, str) and named in PRESETS else given
