"""Text that somebody else wrote, such as a label, a language model's answer or a server's error, made harmless.

A terminal obeys control characters, marks of direction show a line as it is not, and tags hide a text in another.
Each of them becomes U+FFFD, �, which one sees. What only says where a word may be broken goes without a trace. And
errors quote URLs, of proxies and mirrors too, which may hold a password.

What stands in a line, such as a name or a sentence that is said, is a `plain_line`: a text that ended the line
would go on with one of its own choice.
"""

import re

LONGEST_NAME = 200  # characters of a label, a group or what a class is called
LONGEST_REASON = 1000  # of why a row failed

_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tabs and the ends of lines
    "\ud800-\udfff"  # halves of pairs, which JSON can hold and no file can
    "\u2028\u2029\u202a-\u202e\u2066-\u206f"  # ends of lines and paragraphs; directions
    "\ufff9-\ufffb\U000e0000-\U000e007f]"  # annotations and tags
)
_UNSEEN = re.compile("\r(?=\n)|[\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u2064\ufeff]")
_LINE_END = re.compile(r"\r?\n\s*")
_PASSWORD = re.compile(
    r"(?<=://)[^\s/@:]*:(?!\d*(?:[/\s]|$))[^\s@]{,999}@|(?<=https://)[^\s/@]+@|(?<=http://)[^\s/@]+@"
)
_SIGNED = re.compile(
    r"([?&][\w.-]{,99}(?:secret|passw|token|credential|signature|key|sig|sas|pwd)[\w.-]{,99}=)[^\s&#\"'<>]+",
    re.IGNORECASE,
)


def plain(text: str, most: int | None = None) -> str:
    """The text without characters that do harm and without names, passwords and signatures in URLs.

    What is longer than `most` ends in "…".
    """
    text = _SIGNED.sub(r"\1…", _PASSWORD.sub("…@", _HARMFUL.sub("�", _UNSEEN.sub("", text))))
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


def plain_line(text: str, most: int | None = None) -> str:
    """The same on one line."""
    return plain(_LINE_END.sub(" ", text), most)
