"""`alia-ray miniature`: the small models, made again and measured."""

from pathlib import Path
from typing import Annotated

import typer

from alia_ray.cli.leaving import exit_codes

miniature = typer.Typer(no_args_is_help=True, help="The painted world and its small models.")


@miniature.command("train")
def miniature_train(
    part: Annotated[
        str,
        typer.Argument(
            help="vae, instruct_pix2pix, img2img, controlnet, captioner, clip, classifier, llm, or all"
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the weights go.")] = Path("build/miniature"),
    steps: Annotated[
        int | None, typer.Option(help="Optimiser steps; none: as many as the shipped weights had.")
    ] = None,
) -> None:
    """Train the small models again, as the shipped ones were (see docs/miniature.md)."""
    with exit_codes():
        from alia_ray.miniature.train import train_part

        train_part(part, out, steps)


@miniature.command("check")
def miniature_check(
    out: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
    images: Annotated[int, typer.Option(help="How many pictures each figure is measured on.")] = 400,
) -> None:
    """Measure the small models: captions, edits, CLIP; prints each figure beside its bar."""
    with exit_codes():
        from alia_ray.miniature.check import check

        if not check(out, images):
            raise typer.Exit(1)
