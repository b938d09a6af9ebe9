"""What a request may leave out, for servers that refuse a part of it.

OpenAI's own models want `max_completion_tokens` and some of them no temperature; many servers know no JSON schema,
others no JSON at all, and some no seed. A part that a refusal names goes down one step; the form that was taken is
the one for all later requests.
"""

import re
from typing import Any

Form = dict[str, str | None]  # a part of the request -> how it is said; None: not at all

STEPS: dict[str, tuple[str | None, ...]] = {
    "response_format": ("json_schema", "json_object", None),
    "max_tokens": ("max_tokens", "max_completion_tokens", None),
    "seed": ("seed", None),
    "temperature": ("temperature", None),
}
NAMED = {  # how a refusal names the part
    "response_format": r"response.?format|json.?schema|json.?object|schema|grammar|structured|guided",
    "max_tokens": r"max_tokens",
    "seed": r"\bseed\b",
    "temperature": r"\btemperature\b",
}
FIRST: Form = {part: steps[0] for part, steps in STEPS.items()}


def names_a_part(refusal: str) -> bool:
    """Whether a refusal is about a part of the form."""
    return any(re.search(words, refusal, re.IGNORECASE) for words in NAMED.values())


def next_form(form: Form, refusal: str) -> Form | None:
    """The form to try after a refusal in these words, or None when nothing is left to leave out.

    A refusal that names no part is mostly about the one that the fewest servers know.
    """
    named = [part for part, words in NAMED.items() if re.search(words, refusal, re.IGNORECASE)]
    for part in named or ["response_format"]:
        if left := STEPS[part][STEPS[part].index(form[part]) + 1 :]:
            return {**form, part: left[0]}
    return None


def fields(form: Form, schema: dict[str, Any], max_tokens: int, temperature: float, seed: int) -> dict[str, Any]:
    """The parts of a request's body that the form says."""
    said: dict[str, Any] = {}
    if form["response_format"] == "json_schema":
        described = {"name": "answer", "schema": schema, "strict": True}
        said["response_format"] = {"type": "json_schema", "json_schema": described}
    elif form["response_format"]:
        said["response_format"] = {"type": form["response_format"]}
    for part, value in (("max_tokens", max_tokens), ("seed", seed), ("temperature", temperature)):
        if name := form[part]:
            said[name] = value
    return said
