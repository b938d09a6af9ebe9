"""The two-turn conversation that turns captions into prompts (paper, section 3.1), and its JSON schemas.

Turn 1 summarises captions into descriptions of settings; turn 2, going on in the same conversation, makes
each one a prompt for any class. Only the roles user and assistant are used: some chat templates know no
other. Rewording anything here means training the miniature's language model again.
"""

import re
from typing import Any

Message = dict[str, str]  # {"role": "user" or "assistant", "content": text}

EXAMPLES = ("on a gravel road", "seen from far above", "behind a wet window")
# Of one description, and of what a prompt adds to the prefix. xgrammar fails to compile a pattern with a
# bounded repetition above 128 (mlc-ai/xgrammar#863).
MAX_CHARACTERS = 120


def description_form(prefix: str) -> str:
    """The prefix without the class's place: "a photo of a {} bird" -> "a photo of a bird".

    Where no noun is left, "subject" stands in: "a photo of a {}" -> "a photo of a subject".
    """
    before, after = clean_prefix(prefix).split("{}")
    return " ".join(f"{before} {after}".split()) if after.strip() else f"{before.rstrip()} subject"


def clean_prefix(prefix: str) -> str:
    """The prefix without a full stop at its end, since the setting goes on from it."""
    return " ".join(prefix.split()).rstrip(" .,;:")


def summarise(captions: list[str], prefix: str, max_domains: int) -> list[Message]:
    """Turn 1: the request for at most `max_domains` descriptions of what the captions show."""
    form = description_form(prefix)
    listed = "\n".join(f"- {caption}" for caption in captions)
    examples = "\n".join(f"- {form} {example}" for example in EXAMPLES)
    text = (
        "Here are captions of images from one collection, one on each line:\n"
        f"{listed}\n\n"
        f"Summarise what varies from image to image in at most {max_domains} objective descriptions: scenes "
        "and backgrounds, actions, camera pose, zoom and other image qualities. Every description names one "
        "setting that the captions show, and no two describe the same setting. "
        f'Every description has the form "{form} ...", as in these examples, which show the form only:\n'
        f"{examples}\n"
        'Answer in JSON: {"descriptions": ["...", "..."]}'
    )
    return [{"role": "user", "content": text}]


def generalise(messages: list[Message], answer: str, prefix: str) -> list[Message]:
    """Turn 2: the conversation so far, and the request to make each description agnostic of the class."""
    text = (
        "Now turn each description into a prompt that fits every class of the collection. "
        f'Every prompt has the form "{clean_prefix(prefix)} ...": it contains {{}} once, where the name of '
        "a class will be filled in. Keep the setting, name no class, and leave out colours and other traits "
        "of the subject itself. Write prompts that became the same only once.\n"
        'Answer in JSON: {"prompts": ["...", "..."]}'
    )
    return [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": text}]


def descriptions_schema(max_domains: int) -> dict[str, Any]:
    """The JSON schema of turn 1's answer."""
    return _list_schema(
        "descriptions", {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS}, max_domains
    )


def prompts_schema(prefix: str, max_domains: int) -> dict[str, Any]:
    """The JSON schema of turn 2's answer: every prompt begins with the prefix and has no other brace."""
    start = re.sub(r"([.^$*+?()\[\]{}|/\\])", r"\\\1", clean_prefix(prefix))  # re.escape's "\ " is Python's own
    pattern = f'^{start} [^"{{}}\\\\\\r\\n]{{1,{MAX_CHARACTERS}}}$'
    return _list_schema("prompts", {"type": "string", "pattern": pattern}, max_domains)


def _list_schema(key: str, item: dict[str, Any], at_most: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {"type": "array", "items": item, "minItems": 1, "maxItems": at_most}},
        "required": [key],
        "additionalProperties": False,
    }
