"""What has changed in a source since it was ingested: pure functions over its listing and what the run holds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alia_ray.stages.twins import KEEPS

Row = dict[str, Any]
DESCRIBED = ("label", "split", "group")


@dataclass(frozen=True)
class Changes:
    """Origins, sorted, by what became of them."""

    added: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)  # or only touched: reading them tells
    relabelled: list[str] = field(default_factory=list)  # of another label, split or group

    def said(self, moved: int, replaced: int) -> str:
        """The changes in a few words; empty where there are none.

        moved: how many of what is gone were added under another origin. replaced: how many have other content.
        """
        counts = {
            "added": len(self.added) - moved,
            "gone": len(self.gone) - moved,
            "moved": moved,
            "replaced": replaced,
            "relabelled": len(self.relabelled),
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def find_changes(now: Mapping[str, Row], then: Mapping[str, str | None], images: Iterable[Row]) -> Changes:
    """Compare a listing with what was ingested.

    now: origin -> row of the listing. then: origin -> the version that was ingested, null where none is known.
    images: rows of the images table, with origin, label, split and group.
    """
    gone = {origin for origin in then if origin not in now or is_lost(now[origin], then[origin])}
    replaced = {
        origin
        for origin, version in then.items()
        if origin not in gone and version is not None and now[origin]["version"] not in (version, None)
    }
    relabelled = {
        row["origin"]
        for row in images
        if row["origin"] not in gone | replaced
        and row["origin"] in now
        and any(row[name] != now[row["origin"]][name] for name in DESCRIBED)
    }
    return Changes(sorted(now.keys() - then.keys()), sorted(gone), sorted(replaced), sorted(relabelled))


def is_lost(row: Row, version: str | None) -> bool:
    """Whether a row of a listing, such as a CSV's, still names a file that was there and is not any more."""
    return version is not None and row["version"] is None


def outdated(now: Mapping[str, Row], changes: Changes, images: Iterable[Row], errors: Iterable[Row]) -> set[str]:
    """The origins whose rows and errors must go, to be read again where they are still listed.

    Beside what is gone or was replaced those are images that lost their label, errors of such as have one now, and
    twins whose other copy is not to stay any more.
    """
    found = {*changes.gone, *changes.replaced}
    stays = {}
    for row in images:
        origin = row["origin"]
        if origin not in now or not now[origin]["label"]:
            found.add(origin)
        elif origin not in found:
            stays[row["image_id"]] = now[origin]["split"]
    found |= {error["key"] for error in errors if not _holds(error, now.get(error["key"]), stays)}
    return found


def _holds(error: Row, listed: Row | None, stays: Mapping[str, str]) -> bool:
    """Whether the listing still gives reason for an error. stays: image_id -> split, of the images that stay."""
    if listed is None:
        return False
    if error["kind"] == "label":
        return not listed["label"]
    return error["kind"] != "twin" or _is_out(listed, stays.get(error["twin_of"]))


def _is_out(twin: Row, other: str | None) -> bool:
    """Whether a picture is still to be left out, `other` being the split of its copy that stays, if it does."""
    return other is not None and KEEPS.index(other) < KEEPS.index(twin["split"])


def corrections(now: Mapping[str, Row], images: Iterable[Row]) -> dict[str, dict[str, str | None]]:
    """image_id -> the values that the listing gives now, of images that have others."""
    return {
        row["image_id"]: {name: now[row["origin"]][name] for name in DESCRIBED}
        for row in images
        if any(row[name] != now[row["origin"]][name] for name in DESCRIBED)
    }


def in_common(some: Iterable[str | None], others: Iterable[str | None]) -> int:
    """How many of the contents, or versions, of pictures that are gone are those of pictures that were added."""
    return (Counter(one for one in some if one) & Counter(one for one in others if one)).total()
