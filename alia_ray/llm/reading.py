"""Lines -> the lines of one request: chunks that fit the context are summarised, and then their summaries."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alia_ray.config import Discover
from alia_ray.errors import StageError
from alia_ray.llm import prompts
from alia_ray.llm.captions import clean_captions, distinct_captions, filled, pack_captions
from alia_ray.llm.client import Answer, Client
from alia_ray.llm.kept import KeptAnswers
from alia_ray.llm.prompts import Message

Tell = Callable[[str, int, int], None]
"""Hears what the LLM is doing, how many more parts it is to read, and how many more it has read."""
READING = "the LLM reads the captions"
COUNTING = "the tokens of the captions are counted"
BYTES_AT_ONCE = 2**16  # of lines that are counted by one request
ONE_BY_ONE = 1000  # lines that are counted by a request each, by a server that cannot do it otherwise
TOLD_WHOLE = 8  # conversations of chunks, and captions that were cut, in the transcript


@dataclass(frozen=True)
class Reader:
    """A language model that reads lines. `budget`: tokens that those of one request may take."""

    client: Client
    discover: Discover
    budget: int
    at_once: int  # requests
    answers: KeptAnswers | None
    tell: Tell

    def pack(self, lines: pa.StringArray) -> tuple[list[pa.StringArray], list[str]]:
        """Chunks of lines, each of which fits one request, and the lines that had to be cut for that.

        Raises StageError where not even a word fits.
        """
        sizes = self._sizes(lines)
        try:
            return pack_captions(lines, sizes, self.budget, lambda line: self.client.count_tokens(_listed(line)))
        except ValueError as error:
            raise StageError(f"discover: {error}; raise llm.max_model_len") from error

    def reduce_to_one(self, chunks: list[pa.StringArray], transcript: list[dict[str, Any]]) -> list[str]:
        """Summarise each chunk, then the summaries, until one chunk is left: map and reduce. Returns its lines.

        Raises StageError where the summaries do not become fewer, or say nothing.
        """
        while len(chunks) > 1:
            said: list[str] = []
            self.tell(READING, len(chunks), 0)
            with ThreadPoolExecutor(self.at_once) as threads:
                for place, (asked, answer) in enumerate(threads.map(self._summarise_once, chunks)):
                    self.tell(READING, 0, 1)
                    said += answer.items
                    if place < TOLD_WHOLE:
                        transcript.append({"step": "summarise a chunk", "messages": [*asked, spoken(answer)]})
            found = clean_captions(distinct_captions(said))
            if not len(found):
                raise StageError("the LLM's summaries of captions say nothing; try another llm.model")
            if len(chunks) > TOLD_WHOLE:
                left_out = f"{len(chunks) - TOLD_WHOLE} of {len(chunks)} conversations like these"
                numbers = {"descriptions": len(said), "different": len(found)}
                transcript.append({"step": "summarise the other chunks", "left out": left_out, **numbers})
            fewer, _ = self.pack(found)
            if len(fewer) >= len(chunks):
                raise StageError(
                    f"the summaries of {len(chunks)} chunks of captions do not fit into fewer requests; raise "
                    "llm.max_model_len, or lower discover.max_domains or discover.max_tokens"
                )
            chunks = fewer
        return chunks[0].to_pylist()

    def summarise(self, lines: list[str]) -> tuple[list[Message], Answer]:
        """Turn 1 over some lines: what was asked and answered."""
        asked, schema = self._asked(lines)
        return asked, self.client.ask(asked, schema, self.discover.max_tokens, self.discover.temperature)

    def _summarise_once(self, chunk: pa.StringArray) -> tuple[list[Message], Answer]:
        """The same of a chunk, unless it was answered before."""
        asked, schema = self._asked(chunk.to_pylist())
        answer = self.answers.of(asked, schema) if self.answers else None
        if answer is None:
            answer = self.client.ask(asked, schema, self.discover.max_tokens, self.discover.temperature)
            if self.answers:
                self.answers.keep(asked, schema, answer)
        return asked, answer

    def _asked(self, lines: list[str]) -> tuple[list[Message], dict[str, Any]]:
        asked = prompts.summarise(lines, self.discover.prefix, self.discover.max_domains)
        return asked, prompts.descriptions_schema(self.discover.max_domains)

    def _sizes(self, lines: pa.StringArray) -> np.ndarray:
        """Tokens of each line, counted many at once."""
        runs = filled(pc.binary_length(lines).to_numpy() + len(_listed("")), BYTES_AT_ONCE)

        def counted(run: slice) -> list[int]:
            listed = [_listed(line) for line in lines[run].to_pylist()]
            return self.client.count_lines(listed, one_by_one=len(lines) <= ONE_BY_ONE)

        with ThreadPoolExecutor(self.at_once) as threads:
            sizes = []
            for number, run in enumerate(threads.map(counted, runs), start=1):
                sizes.append(np.array(run, np.int64))
                if len(runs) > 1:
                    self.tell(f"{COUNTING}: {100 * number // len(runs)} %", 0, 0)
        return np.concatenate(sizes)


def spoken(answer: Answer) -> Message:
    """An answer as a message of its conversation."""
    return {"role": "assistant", "content": answer.text}


def _listed(line: str) -> str:
    """A line as it stands in a request."""
    return f"- {line}\n"
