"""Pictures for a page: read by id, shrunk, as data URIs; and a grid of them as one picture."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from alia_ray.images import decode_rgb
from alia_ray.store import tables
from alia_ray.store.rows import homes, stream
from alia_ray.store.run_folder import Table

LARGEST = 320  # pixels of a thumbnail's longer side
TINY = 96  # a picture smaller than this is enlarged with hard pixel edges
_CAPTION_SIZE = 13  # pixels, font of a grid's captions
_GAP = 8  # pixels between the cells of a grid


@dataclass(frozen=True)
class Thumbnail:
    """A picture for an `img` element."""

    uri: str  # data:image/webp
    tiny: bool  # to be enlarged with hard edges


def read_images(table: Table, ids: Iterable[str]) -> dict[str, bytes]:
    """The encoded pictures of some rows of a table, by id; rows without a picture are left out.

    Reads the id column of every file, but pictures only from the files that hold one of the ids.
    """
    if not table.exists():
        return {}
    key = tables.KEYS[table.name]
    found: dict[str, bytes] = {}
    for rows in stream(table.uri, homes(table.uri, key, sorted(set(ids))), ["image"]):
        found |= {row[key]: row["image"] for row in rows.to_pylist() if row["image"] is not None}
    return found


def thumbnail(encoded: bytes) -> Thumbnail:
    """Shrink an encoded picture to at most LARGEST pixels a side; a tiny one keeps every pixel.

    Raises images.DecodeError.
    """
    picture = decode_rgb(encoded)
    tiny = max(picture.size) < TINY
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return Thumbnail(as_uri(picture, lossless=tiny), tiny)


def as_uri(picture: Image.Image, lossless: bool) -> str:
    """data:image/webp"""
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", lossless=lossless, quality=75)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def picture_grid(
    rows: Sequence[Sequence[tuple[Image.Image, str]]],
    cell: int = 144,
    background: str = "white",
    ink: str = "#333",
) -> Image.Image:
    """A picture of rows of captioned pictures, such as a source and its edits.

    rows: (picture, caption) pairs; rows may differ in length. Each picture is fitted into `cell` × `cell` pixels,
    enlarged with hard edges where it is tiny; its caption is wrapped below it. Raises ValueError without a cell.
    """
    if not any(rows):
        raise ValueError("a grid needs at least one picture")
    font = ImageFont.load_default(size=_CAPTION_SIZE)
    captions = [[_wrap(caption, font, cell) for _, caption in row] for row in rows]
    line = _CAPTION_SIZE + 4
    heights = [cell + 4 + line * max((len(lines) for lines in row), default=0) + _GAP for row in captions]
    columns = max(len(row) for row in rows)
    grid = Image.new("RGB", (_GAP + columns * (cell + _GAP), _GAP + sum(heights)), background)
    draw = ImageDraw.Draw(grid)
    top = _GAP
    for row, texts, height in zip(rows, captions, heights, strict=True):
        for column, ((picture, _), lines) in enumerate(zip(row, texts, strict=True)):
            left = _GAP + column * (cell + _GAP)
            fitted = _fit(picture, cell)
            grid.paste(fitted, (left + (cell - fitted.width) // 2, top + (cell - fitted.height) // 2))
            for number, text in enumerate(lines):
                place = (left + cell / 2, top + cell + 4 + number * line)
                draw.text(place, text, font=font, fill=ink, anchor="ma")
        top += height
    return grid


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    tiny = max(picture.size) < TINY
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST if tiny else Image.Resampling.LANCZOS)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The lines of a text, none wider than `width` pixels unless a single word is."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
