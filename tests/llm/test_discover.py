import json

import pytest

from alia_ray import config
from alia_ray.errors import StageError
from alia_ray.llm.discover import caption_budget, check_prompts, discover_domains, domain_rows, given_domains
from alia_ray.llm.reading import READING
from alia_ray.store import tables

PREFIX = "a photo of a {} bird"
CAPTIONS = [
    "there is a bird that is swimming in the water",
    "there is a small bird perched on a branch of a tree",
    "there is a black bird that is sitting on a tree branch",
    "there is a bird that is swimming in the water",
]


def settings(**discover) -> tuple[config.Discover, config.Llm]:
    return (
        config.Discover(prefix=PREFIX, max_tokens=16, **discover),
        config.Llm(model=config.Model(name="fake"), max_model_len=1024, request_timeout_s=10),
    )


def answer(request: dict) -> str:
    """Turn 1: the last three words of each line; turn 2: the same as prompts."""
    if len(request["messages"]) == 1:
        lines = [
            line for line in request["messages"][0]["content"].split("\n\n")[0].splitlines() if line[:2] == "- "
        ]
        tails = dict.fromkeys(" ".join(line.split()[-3:]) for line in lines)
        return json.dumps({"descriptions": [f"a photo of a bird {tail}" for tail in tails]})
    said = json.loads(request["messages"][1]["content"])["descriptions"]
    return json.dumps({"prompts": [f"{PREFIX} {text.removeprefix('a photo of a bird ')}" for text in said]})


def listed(request: dict) -> list[str]:
    return [line[2:] for line in request["messages"][0]["content"].split("\n\n")[0].splitlines()[1:]]


def test_two_turns_become_rows_of_the_domains_table(fake_llm):
    fake_llm.reply = answer
    found = discover_domains(CAPTIONS, ["gull"], *settings(), fake_llm.endpoint, seed=0)
    rows = [(row["prompt"], row["support"], row["captions_read"]) for row in found.domains]
    assert rows == [
        ("a photo of a {} bird in the water", 2, 3),
        ("a photo of a {} bird of a tree", 2, 3),
        ("a photo of a {} bird a tree branch", 2, 3),
    ]
    assert [set(row) for row in found.domains] == [set(tables.DOMAINS.names)] * 3
    assert found.domains[0]["domain_id"] == tables.content_id("a photo of a {} bird in the water")
    first, second = fake_llm.requests
    assert listed(first) == CAPTIONS[:3]
    assert second["messages"][0] == first["messages"][0]


def test_the_transcript_is_json_and_holds_the_whole_conversation(fake_llm):
    fake_llm.reply = answer
    found = discover_domains(CAPTIONS, [], *settings(), fake_llm.endpoint, seed=0)
    read, talk, check = json.loads(json.dumps(found.transcript))
    assert read == {"step": "read", "captions": 4, "clean": 3, "read": 3, "cut": []}
    assert [message["role"] for message in talk["messages"]] == ["user", "assistant", "user", "assistant"]
    assert check["kept"] == [row["prompt"] for row in found.domains]


def test_more_captions_than_fit_are_summarised_in_chunks_and_then_once_more(fake_llm):
    fake_llm.reply = answer
    captions = [f"number {i} is a bird {'on a lake' if i % 2 else 'in a forest'}" for i in range(300)]
    told: list[tuple[str, int, int]] = []
    found = discover_domains(
        captions, [], *settings(captions="all"), fake_llm.endpoint, 0, lambda *said: told.append(said)
    )
    *chunks, reduce, _ = fake_llm.requests
    parts = [("the LLM reads the captions", 0, 1)] * len(chunks)
    assert told == [(READING, len(chunks), 0), *parts, ("the LLM writes the prompts", 0, 0)]
    assert len(chunks) > 1
    assert sorted(line for request in chunks for line in listed(request)) == sorted(captions)
    assert listed(reduce) == ["a photo of a bird in a forest", "a photo of a bird on a lake"]
    assert [row["prompt"] for row in found.domains] == [
        "a photo of a {} bird in a forest",
        "a photo of a {} bird on a lake",
    ]
    assert [row["support"] for row in found.domains] == [150, 150]
    assert [step["step"] for step in found.transcript].count("summarise a chunk") == len(chunks)


def test_summaries_that_never_fit_are_an_error_and_no_endless_loop(fake_llm):
    fake_llm.reply = lambda request: json.dumps({"descriptions": listed(request)})
    captions = [f"number {i} is a bird in a forest" for i in range(300)]
    with pytest.raises(StageError, match="do not fit into fewer requests"):
        discover_domains(captions, [], *settings(captions="all"), fake_llm.endpoint, seed=0)


def test_requests_keep_to_the_context(fake_llm):
    fake_llm.reply = answer
    captions = [f"number {i} is a bird in a forest" for i in range(300)]
    discover, llm = settings(captions="all")
    discover_domains(captions, [], discover, llm, fake_llm.endpoint, seed=0)
    for request in fake_llm.requests:
        words = sum(len(message["content"].split()) for message in request["messages"])
        assert words + discover.max_tokens <= llm.max_model_len


def test_a_context_without_room_for_captions_is_an_error(fake_llm):
    from alia_ray.llm.client import Client

    client = Client(fake_llm.endpoint, "fake", 10, seed=0)
    discover, llm = settings()
    with pytest.raises(StageError, match=r"llm\.max_model_len of 256 tokens leaves no room"):
        caption_budget(
            client, discover.model_copy(update={"max_tokens": 128}), llm.model_copy(update={"max_model_len": 256})
        )


def test_captions_of_loops_alone_are_an_error(fake_llm):
    with pytest.raises(StageError, match="no usable caption"):
        discover_domains(["red " * 9, ""], [], *settings(), fake_llm.endpoint, seed=0)


def test_unusable_prompts_are_dropped_each_with_its_reason():
    written = [
        " a photo of a {}  bird in the snow. ",
        "a photo of a {} bird In the snow",
        "a photo of a bird in the snow",
        "a photo of a {} bird near a {}",
        "a photo of a {} bird near a {tree}",
        "a photo of a {} bird",
        "a photo of a {} bird beside two black-footed albatrosses",
        "a photo of a {} bird on a lake",
        "a photo of a {} bird on a beach",
    ]
    kept, dropped = check_prompts(written, ["001.Black_footed_Albatross", "bird"], PREFIX, max_domains=2)
    assert kept == ["a photo of a {} bird in the snow", "a photo of a {} bird on a lake"]
    assert [drop["prompt"] for drop in dropped] == [*written[1:7], written[8]]
    reasons = [drop["reason"] for drop in dropped]
    assert reasons[0] == "is there already"
    assert all("exactly one" in reason for reason in reasons[1:4])
    assert reasons[4] == "adds nothing to the prefix"
    assert "black footed albatross" in reasons[5]
    assert "max_domains" in reasons[6]


def test_prompts_without_bounds_are_dropped_and_the_transcript_stays_short():
    written = [
        "a photo of a {} bird " + "at sea " * 4000,
        "a photo of a {} bird at\u202e sea",
        "\x00" + PREFIX + " at sea",
    ]
    kept, dropped = check_prompts(written, ["gull"], PREFIX, 9)
    assert kept == []
    assert "longer than" in dropped[0]["reason"]
    assert all("cannot be printed" in drop["reason"] for drop in dropped[1:])
    assert max(len(drop["prompt"]) for drop in dropped) < 200


def test_the_longest_prompt_of_the_schema_is_kept():
    prompt = f"{PREFIX} {'x' * 120}"
    assert check_prompts([prompt], ["gull"], PREFIX, 9)[0] == [prompt]


@pytest.mark.parametrize("label", ["7", "00042", "A", "in", "a 3", "___"])
def test_a_label_that_any_prompt_may_say_drops_none(label):
    prompt = PREFIX + " in a field with 7 trees and a house"
    assert check_prompts([prompt], [label], PREFIX, 9)[0] == [prompt]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("737-200", "beside a 737-200"),
        ("A310", "beside an A310"),
        ("BMW 3 Series", "on a BMW 3 Series"),
        ("2012_Audi_S5", "on an Audi S5"),
        ("empty scene", "in an empty scene"),
        ("梅花鹿", "beside a 梅花鹿"),
    ],
)
def test_a_prompt_that_says_a_name_with_or_without_its_numbers_is_dropped(name, said):
    [dropped] = check_prompts([f"{PREFIX} {said}"], [name], PREFIX, 9)[1]
    assert dropped["reason"].startswith("names the class")


def test_in_the_background_does_not_name_a_class_called_background():
    prompt = "a photo of a {} bird with trees in the background"
    assert check_prompts([prompt], ["background"], PREFIX, 9)[0] == [prompt]
    assert check_prompts([PREFIX + " on a background"], ["background"], PREFIX, 9)[0] == []


def test_nothing_usable_is_an_error_with_the_reasons(fake_llm):
    fake_llm.reply = lambda request: (
        answer(request) if len(request["messages"]) == 1 else '{"prompts":["a photo of a gull"]}'
    )
    with pytest.raises(StageError, match=r"a photo of a gull.*exactly one"):
        discover_domains(CAPTIONS, ["gull"], *settings(), fake_llm.endpoint, seed=0)


def test_support_counts_captions_with_every_content_word():
    [row] = domain_rows([PREFIX + " on the branch of a tree"], CAPTIONS, PREFIX, captions_read=3)
    assert row["support"] == 2


def test_given_prompts_are_taken_as_they_are_once_each():
    discover, _ = settings(prompts=["a {} in the water", "a {} in the water", "a {} at night"])
    found = given_domains(CAPTIONS, discover)
    assert [row["prompt"] for row in found.domains] == ["a {} in the water", "a {} at night"]
    assert [(row["support"], row["captions_read"]) for row in found.domains] == [(2, 0), (0, 0)]
