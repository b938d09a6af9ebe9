"""What was answered is not asked again after a kill, and is gone once the domains are there."""

import json
import re
import threading
import time

import pyarrow as pa
import pytest

from alia_ray.config import Discover, Llm, Model
from alia_ray.errors import StageError
from alia_ray.llm import reading
from alia_ray.llm.discover import discover_domains
from alia_ray.llm.kept import KeptAnswers
from alia_ray.store.run_folder import RunFolder

PLACES = ("on a lake", "in a forest", "by the sea", "in the snow")
CAPTIONS = [f"number {n} is a bird {PLACES[n % 4]}" for n in range(300)]
DISCOVER = Discover(max_tokens=16, captions="all")
LLM = Llm(model=Model(name="fake"), max_model_len=512)


def answer(request) -> str:
    if len(request["messages"]) > 1:
        return json.dumps({"prompts": [f"a photo of a {{}} {place}" for place in PLACES]})
    last = request["messages"][0]["content"].split("\n\n")[0].split()[-2:]
    return json.dumps({"descriptions": [f"a photo of a subject {' '.join(last)} {len(request['messages'])}"]})


def discovered(fake_llm, answers: KeptAnswers | None, seed: int = 0, llm: Llm = LLM):
    return discover_domains(CAPTIONS, [], DISCOVER, llm, fake_llm.endpoint, seed, answers=answers)


@pytest.fixture(autouse=True)
def counted_at_once(fake_llm):
    fake_llm.tells_tokens = True


@pytest.fixture
def answers(tmp_path) -> KeptAnswers:
    return KeptAnswers(RunFolder(str(tmp_path)), "f")


def files(answers: KeptAnswers) -> list[str]:
    folder = answers.run.fs
    found = folder.get_file_info(
        pa.fs.FileSelector(answers.run.file("answers", answers.fingerprint), allow_not_found=True)
    )
    return sorted(info.path for info in found)


def test_whoever_was_killed_between_two_chunks_asks_for_the_others_only(fake_llm, answers):
    fake_llm.reply = answer
    one_at_once = LLM.model_copy(update={"concurrency": 1})
    expected = discovered(fake_llm, None, llm=one_at_once)
    asked = [request["messages"] for request in fake_llm.requests]
    chunks = len(asked) - 2
    assert chunks > 5
    for killed_after in range(chunks):
        fake_llm.requests.clear()
        fake_llm.reply = lambda request: answer(request) if len(fake_llm.requests) <= 1 else (400, "killed")
        with pytest.raises(StageError, match="killed"):
            discovered(fake_llm, KeptAnswers(answers.run, "f"), llm=one_at_once)
        assert fake_llm.requests[0]["messages"] == asked[killed_after]
        assert len(files(answers)) == killed_after + 1
    fake_llm.requests.clear()
    fake_llm.reply = answer
    assert discovered(fake_llm, KeptAnswers(answers.run, "f")) == expected
    assert len(fake_llm.requests) == 2  # the conversation over the summaries


def test_answers_of_other_captions_or_settings_are_not_taken(fake_llm, answers):
    fake_llm.reply = answer
    discovered(fake_llm, answers)
    before = len(fake_llm.requests)
    other = DISCOVER.model_copy(update={"prefix": "a drawing of a {}"})
    with pytest.raises(StageError, match="none of the LLM's prompts"):
        discover_domains(
            CAPTIONS, ["lake", "forest", "sea", "snow"], other, LLM, fake_llm.endpoint, 0, answers=answers
        )
    assert len(fake_llm.requests) >= 2 * before


def test_a_damaged_answer_is_asked_for_again(fake_llm, answers):
    fake_llm.reply = answer
    expected = discovered(fake_llm, answers)
    for path, content in zip(files(answers), ['{"text": "half', '{"text": "", "items": []}'], strict=False):
        with open(path, "w") as file:
            file.write(content)
    fake_llm.requests.clear()
    assert discovered(fake_llm, KeptAnswers(answers.run, "f")) == expected
    assert len(fake_llm.requests) == 2 + 2


def test_answers_of_one_discovery_are_deleted_and_those_of_another_stay(fake_llm, answers):
    fake_llm.reply = answer
    other = KeptAnswers(answers.run, "other")
    discovered(fake_llm, answers)
    discovered(fake_llm, other, seed=1)
    answers.delete()
    answers.delete()
    assert files(answers) == []
    assert files(other)


@pytest.mark.parametrize("at_once", [1, 6])
def test_as_many_chunks_are_asked_at_once_as_the_configuration_says_and_give_the_same(fake_llm, at_once):
    fake_llm.reply = answer
    expected = discovered(fake_llm, None)
    lock, now, most = threading.Lock(), [0], [0]

    def slow(request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.2)
        with lock:
            now[0] -= 1
        return answer(request)

    fake_llm.reply = slow
    assert discovered(fake_llm, None, llm=LLM.model_copy(update={"concurrency": at_once})) == expected
    assert most[0] == at_once


def test_the_transcript_of_many_chunks_holds_the_first_ones_and_says_how_many_it_leaves_out(fake_llm, monkeypatch):
    fake_llm.reply = answer
    monkeypatch.setattr(reading, "TOLD_WHOLE", 100)
    whole = discovered(fake_llm, None).transcript
    chunks = len(fake_llm.requests) - 2
    assert [step["step"] for step in whole] == ["read", *["summarise a chunk"] * chunks, "discover", "check"]
    monkeypatch.setattr(reading, "TOLD_WHOLE", 2)
    short = discovered(fake_llm, None).transcript
    assert short[:3] == whole[:3]
    assert short[3] == {
        "step": "summarise the other chunks",
        "left out": f"{chunks - 2} of {chunks} conversations like these",
        "descriptions": chunks,
        "different": len(re.findall("\n- ", short[4]["messages"][0]["content"].split("\n\n")[0])),
    }
    assert short[4:] == whole[-2:]


def test_one_caption_of_all_images_is_read_once_and_supported_by_all(fake_llm):
    fake_llm.reply = answer
    captions = pa.chunked_array([pa.array(["a bird by the sea"]).take(pa.array([0] * 100_000))] * 10)
    found = discover_domains(captions, [], DISCOVER, LLM, fake_llm.endpoint, 0)
    assert len(fake_llm.requests) == 2
    assert found.transcript[0] == {"step": "read", "captions": 1_000_000, "clean": 1, "read": 1, "cut": []}
    assert {row["prompt"]: row["support"] for row in found.domains}["a photo of a {} by the sea"] == 1_000_000
