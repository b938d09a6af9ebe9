"""What stands in `{}`: a name for every label, the one that a person gave or the label made readable.

Numbers stay, since they tell classes apart ("737-200", "A310", "2012 Audi S5"). Only what numbers a class that is
named behind it goes, as some datasets write their folders: CUB-200-2011 and Caltech-256 ("110.Geococcyx"),
Stanford Dogs ("n02085620-Chihuahua"), and iNaturalist 2021, which writes all ranks of a species.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

_CLEANED = {"Whip poor Will": "Eastern whip-poor-will", "Geococcyx": "Roadrunner"}  # CUB's two misnomers
_NUMBER = re.compile(r"^(?:\d{3}\.|n\d{8}[-_ ]+)(?=[^\W\d])")
_RANKS = re.compile(r"\d{5}_[A-Z][a-z]+(?:_[^_]+){4}_([A-Z][^_]+)_([^_]+)")  # "00042_Animalia_…_Corvus_corax"
_BLANKS = re.compile(r"_|(?<!\d)\.|\.(?!\d)")  # a dot within a number stays
_ENTITY = re.compile(r"&#?\w+;")
_JOINERS = "\u200c\u200d"  # invisible, but part of the spelling of Persian and Hindi

_NUMBERED = "looks like the number of a class"
_DOUBTS = (
    (re.compile(r"[\d ]+"), "is only a number"),
    (re.compile(r"(?:c ?|(?:cls|class|label|category|id|type|group|species)[ -]?)\d+", re.I), _NUMBERED),
    (re.compile(r"0\d* .+"), "begins with a running number"),
    (re.compile(r"n\d{8}"), "is a WordNet id"),
    (re.compile(r"[a-z]{1,4}[ -]?0\d+", re.I), _NUMBERED),
    (re.compile(r"(?=.*\d)(?:[0-9a-f]{8,}|[0-9a-f]{4,}(?:-[0-9a-f]{4,})+)", re.I), "is a hash"),
    (re.compile(r"[a-z]", re.I), "is one letter"),
    (re.compile(r"[b-df-hj-np-tv-xz]+", re.I), "has no vowel"),
    (re.compile(r"(?:[A-Z][a-z]{2,}){2,}"), "runs words together"),
    (re.compile(r".+,.+"), "may be several names"),
    (re.compile(r"(?:/|[a-z]/).+|.*[a-z]\+[a-z].*|.*%[0-9A-Fa-f]{2}.*"), "holds signs that no name does"),
)
"""What a whole name looks like that may say nothing to a model, and why; the first that fits is said."""
ALIKE = "differs from another one in case or punctuation only"
"""Why a name is doubtful beside the others."""


@cache
def class_name(label: str) -> str:
    """A label as a prompt says it: "001.Black_footed_Albatross" becomes "Black footed Albatross".

    Underscores, and dots but those in numbers, become blanks; what cannot be printed goes. It may come out empty.
    """
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), unicodedata.normalize("NFC", label))
    text = _printable(text).strip()
    ranks = _RANKS.fullmatch(text)
    text = f"{ranks[1]} {ranks[2]}" if ranks else _NUMBER.sub("", text)
    name = " ".join(_BLANKS.sub(" ", text).split()).strip(" ,;:-")
    return _CLEANED.get(name, name)


def _printable(text: str) -> str:
    """The text with blanks for control characters, and without marks that nobody sees."""
    kinds = {"Cc": " ", "Zl": " ", "Zp": " ", "Cf": "", "Cs": "", "Co": "", "Cn": ""}
    return "".join(
        letter if letter in _JOINERS else kinds.get(unicodedata.category(letter), letter) for letter in text
    )


def prompt_names(labels: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """The name of every label, in the labels' order: a given one, or else `class_name`'s."""
    return {label: given.get(label) or class_name(label) for label in sorted(set(labels))}


def doubts(names: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Of label -> name: label -> why the name may mean no class to a model. What a person gave is meant."""
    spelt = Counter(_spelling(name) for name in names.values())
    own = {label: name for label, name in names.items() if label not in given}
    numbered = _all_numbered(own.values())
    found = {}
    for label, name in names.items():
        if spelt[_spelling(name)] > 1:
            found[label] = ALIKE
        elif label in own and (reason := _doubt(name, numbered)):
            found[label] = reason
    return found


def _spelling(name: str) -> str:
    """What is left of a name without case and punctuation; a name of punctuation alone stays."""
    return " ".join(re.findall(r"\w+", name.casefold())) or name


def _doubt(name: str, numbered: bool) -> str | None:
    reasons = (reason for pattern, reason in _DOUBTS if pattern.fullmatch(name))
    return next(reasons, "begins with a running number" if numbered else None)


def _all_numbered(names: Iterable[str]) -> bool:
    """Whether every name begins with a number of its own: "0 cat", "1 dog"."""
    numbers = [re.match(r"(\d+) ", name) for name in names]
    return len(numbers) > 1 and all(numbers) and len({found[1] for found in numbers}) == len(numbers)
