import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from alia_ray.llm import prompts
from alia_ray.miniature import llm
from alia_ray.miniature.dataset import CLASSES
from alia_ray.miniature.world import BACKGROUNDS
from alia_ray.models.naming import WEIGHTS


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_a_conversation_is_the_one_that_discovery_holds():
    lines = ["a photo of a red bird in the snow", "a photo of a blue fish on a lake", "a photo of a red bird"]
    talk = llm.conversation(lines, llm.backgrounds_of(lines))
    assert talk[0] == prompts.summarise(lines, llm.PREFIX, 9)[0]
    assert talk[1]["content"] == '{"descriptions":["a photo of a bird on a lake","a photo of a bird in the snow"]}'
    assert talk[2] == prompts.generalise(talk[:1], talk[1]["content"], llm.PREFIX)[2]
    assert (
        talk[3]["content"] == '{"prompts":["a photo of a {} bird on a lake","a photo of a {} bird in the snow"]}'
    )


def test_backgrounds_come_in_the_order_of_the_world_whatever_the_lines_order():
    lines = [f"a photo of a red bird {place}" for place in BACKGROUNDS.values()]
    assert llm.backgrounds_of(lines) == llm.backgrounds_of(lines[::-1]) == list(BACKGROUNDS)


def test_the_classes_of_the_task_never_occur(rng):
    lines = [line for _ in range(200) for line in llm.draw_lines(rng, 12)]
    assert not any(name in line for name in CLASSES for line in lines)


def test_what_is_trained_on_is_what_the_chat_template_writes(rng):
    tokenizer = llm.build_tokenizer(rng)
    lines = llm.draw_lines(rng, 5)
    talk = llm.conversation(lines, llm.backgrounds_of(lines))
    ids, weights = llm._weighted(tokenizer, talk, learn_first=True)
    assert ids.tolist() == tokenizer.apply_chat_template(talk, tokenize=True, return_dict=False)
    learned = tokenizer.decode(ids[weights == 1])
    assert learned == f"{talk[1]['content']}{llm.END}{talk[3]['content']}{llm.END}"


def test_a_short_training_writes_a_model_that_loads(tmp_path):
    llm.train_llm(tmp_path, steps=2, seed=0)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    first = prompts.summarise(["a photo of a red bird in the snow"], llm.PREFIX, 9)
    ids = tokenizer.apply_chat_template(first, return_tensors="pt", return_dict=False, add_generation_prompt=True)
    assert torch.isfinite(model(ids).logits).all()
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize("captions", [1, 8, 24])
def test_the_shipped_model_lists_exactly_what_it_read(rng, captions: int):
    folder = WEIGHTS / "llm"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    first, both = llm.exact_share(model, tokenizer, rng, captions, talks=40)
    assert first >= 0.95
    assert both >= 0.95
