import numpy as np
import pyarrow as pa
import pytest

from alia_ray.llm import captions as columns
from alia_ray.llm.captions import distinct_captions

BLIP = [  # as BLIP large says them of CUB and iWildCam
    "araffe flying over the ocean with its wings spread",
    "there is a bird that is sitting on a branch in the grass",
    "There is a bird that is  sitting on a branch in the grass ",
    "arafed bird with a long beak and a long beak and a long beak and a long beak and a long beak and a long beak",
    "a black and white photo of a night time view of a forest",
    "",
    "   ",
    "there is a large body of water that is in the middle of a field",
]


def clean_captions(captions: list[str]) -> list[str]:
    return columns.clean_captions(distinct_captions(captions)).to_pylist()


def sample_captions(captions: list[str], count: int, seed: int) -> list[str]:
    return columns.sample_captions(pa.array(captions), count, seed).to_pylist()


def pack_captions(captions: list[str], sizes: list[int], budget: int, count_tokens):
    chunks, cut = columns.pack_captions(pa.array(captions), np.array(sizes), budget, count_tokens)
    return [chunk.to_pylist() for chunk in chunks], cut


def count_words(text: str) -> int:
    return len(text.split())


def sizes(captions: list[str]) -> list[int]:
    return [count_words(caption) for caption in captions]


def test_repetitions_loops_and_empty_captions_are_dropped_in_order():
    assert clean_captions(BLIP) == [BLIP[0], BLIP[1], BLIP[4], BLIP[7]]


def test_five_times_a_word_is_allowed_and_six_is_a_loop():
    five = "a bird a tree a rock a lake a sky"
    assert clean_captions([five, five + " a field"]) == [five]


def test_a_loop_is_seen_through_case_and_punctuation():
    assert clean_captions(["Red, red. RED red-red (red) bird"]) == []


def test_a_sample_is_seeded_and_keeps_the_order():
    captions = [f"caption {number}" for number in range(50)]
    first = sample_captions(captions, 10, seed=3)
    assert first == sample_captions(captions, 10, seed=3) != sample_captions(captions, 10, seed=4)
    assert first == sorted(first, key=captions.index)
    assert len(set(first)) == 10


def test_a_sample_larger_than_the_captions_is_all_of_them():
    assert sample_captions(["a", "b"], 5, seed=0) == ["a", "b"]


def test_packing_loses_no_caption_and_keeps_to_the_budget():
    captions = [" ".join(["word"] * (1 + number % 5)) + f" {number}" for number in range(40)]
    chunks, cut = pack_captions(captions, sizes(captions), 11, count_words)
    assert [caption for chunk in chunks for caption in chunk] == captions
    assert all(sum(sizes(chunk)) <= 11 for chunk in chunks)
    assert cut == []


def test_a_chunk_is_filled_up_to_the_last_token():
    assert pack_captions(["a b", "c", "d"], [2, 1, 1], 3, count_words)[0] == [["a b", "c"], ["d"]]


def test_a_caption_over_the_budget_is_cut_and_reported():
    long = "one two three four five six"
    chunks, cut = pack_captions(["a b", long, "c"], [2, 6, 1], 4, count_words)
    assert chunks == [["a b"], ["one two three four"], ["c"]]
    assert cut == [long]


def test_a_budget_below_one_word_is_an_error():
    with pytest.raises(ValueError, match="not even the first word"):
        pack_captions(["one two"], [2], 1, lambda text: 2)
