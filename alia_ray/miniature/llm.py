"""The small language model: a Llama that holds the two-turn conversation of `llm.prompts` about the world.

It is trained on exactly the conversations that discovery makes: captions, the JSON list of the settings they
name, the request to make them agnostic of the class, the JSON list of prompts. Lists are in the order of
`world.BACKGROUNDS`, so that every next word is a look-up: the first background after the last one written
that some caption names. The classes of the miniature's task never occur.
"""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from alia_ray.llm import prompts
from alia_ray.miniature import world
from alia_ray.miniature.training import fit, seed_everything
from alia_ray.miniature.world import Creature

PREFIX = "a photo of a {} bird"
MAX_CAPTIONS = 24
BATCH = 32
LIST_WEIGHT = 0.05  # of the loss on the captions: it helps copying, but most of it cannot be learned
END = "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_llm(out: Path, steps: int, seed: int) -> None:
    """Train the model for `steps` steps and save it with its tokenizer, float32, to `out`.

    The first half of the steps raises the number of captions from 4 to `MAX_CAPTIONS`.
    """
    rng = seed_everything(seed)
    tokenizer = build_tokenizer(rng)
    model = build_model(tokenizer)
    step = 0

    def loss_of_batch() -> torch.Tensor:
        nonlocal step
        most = 4 + int((MAX_CAPTIONS - 4) * min(1.0, 2 * step / steps))
        step += 1
        ids, weights = draw_batch(rng, tokenizer, int(rng.integers(1, most + 1)))
        return _weighted_loss(model, ids, weights)

    trained = fit(model, loss_of_batch, steps, peak_lr=3e-3)
    trained.generation_config.eos_token_id = tokenizer.eos_token_id
    trained.save_pretrained(out)
    tokenizer.save_pretrained(out)


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Two layers of width 128. vLLM on a CPU wants heads of 32 or more."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=32,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_tokenizer(rng: np.random.Generator) -> PreTrainedTokenizerFast:
    """A byte-level BPE of the world's words, in which the constant text of the conversation is few tokens."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=440, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    answers = []
    for _ in range(500):
        lines = draw_lines(rng, 12)
        answers += [*lines, *(message["content"] for message in conversation(lines, backgrounds_of(lines))[1::2])]
    bpe.train_from_iterator(answers, trainer)
    bpe.add_tokens([AddedToken(text, normalized=False) for text in constant_texts()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token="<|pad|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        model_max_length=512,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def constant_texts() -> list[str]:
    """What conversations repeat: the requests, cut at what varies in them, and the phrases of the world."""
    first = prompts.summarise(["|"], PREFIX, 9)[0]["content"]
    second = prompts.generalise([], "", PREFIX)[-1]["content"]
    head, rest = first.split("- |")
    before_number, after_number = rest.split(" 9 ")
    requests = [head, f"\n{before_number.lstrip()}", f" {after_number}", second]
    places = [f" {place}" for place in world.BACKGROUNDS.values()]
    return [*requests, "- a photo of", prompts.description_form(PREFIX), PREFIX, *places]


# ------------------------------------------------------------------ conversations


def draw_lines(rng: np.random.Generator, count: int) -> list[str]:
    """Up to `count` different lines for the LLM to read, of which at least one names a background.

    Mostly captions; one time in six descriptions, as the reduce step of discovery reads them.
    """
    names = rng.permutation(list(world.BACKGROUNDS))[: rng.integers(1, len(world.BACKGROUNDS) + 1)]
    if rng.random() < 1 / 6:
        drawn = [_describe(str(rng.choice(names))) for _ in range(count)]
    else:
        drawn = [draw_caption(rng, str(rng.choice(names))) for _ in range(count)]
    lines = list(dict.fromkeys(drawn))
    return lines if backgrounds_of(lines) else draw_lines(rng, count)


def draw_caption(rng: np.random.Generator, background: str) -> str:
    """What a captioner says of a picture: usually right, sometimes the wrong kind, or with something missing."""
    kind = str(rng.choice(world.KINDS, p=[0.84, 0.08, 0.08]))
    colour = str(rng.choice(list(world.COLOURS)))
    slip = rng.random()
    if slip < 0.03:
        return world.caption(None, background)
    caption = world.caption(Creature(kind, colour), background, "" if slip < 0.07 else None)
    if slip > 0.96:  # no background
        return caption.removesuffix(f" {world.BACKGROUNDS[background]}")
    return caption.replace(kind, f"{kind} {kind}") if slip > 0.93 else caption


def backgrounds_of(lines: list[str]) -> list[str]:
    """The backgrounds that the lines name, in the order of `world.BACKGROUNDS`."""
    return [name for name, place in world.BACKGROUNDS.items() if any(line.endswith(place) for line in lines)]


def conversation(lines: list[str], said: list[str]) -> list[prompts.Message]:
    """The four messages of a conversation about `lines` whose answers list the backgrounds `said`."""
    first = prompts.summarise(lines, PREFIX, 9)
    second = prompts.generalise(first, _compact("descriptions", [_describe(name) for name in said]), PREFIX)
    written = _compact("prompts", [f"{PREFIX} {world.BACKGROUNDS[name]}" for name in said])
    return [*second, {"role": "assistant", "content": written}]


def _describe(background: str) -> str:
    return f"{prompts.description_form(PREFIX)} {world.BACKGROUNDS[background]}"


def _compact(key: str, values: list[str]) -> str:
    """JSON as vLLM's xgrammar backend writes it with `disable_any_whitespace`."""
    return json.dumps({key: values}, separators=(",", ":"))


# ------------------------------------------------------------------ batches


def draw_batch(
    rng: np.random.Generator, tokenizer: PreTrainedTokenizerFast, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (BATCH, T), padded on the right, and the float weight of each in the loss.

    In one conversation of five, turn 1 has left something out and is not learned from: turn 2 goes by what
    turn 1 said.
    """
    rows = []
    for _ in range(BATCH):
        lines = draw_lines(rng, count)
        found = backgrounds_of(lines)
        faithful = rng.random() < 0.8
        said = found if faithful else [name for name in found if rng.random() < 0.7] or found[:1]
        rows.append(_weighted(tokenizer, conversation(lines, said), learn_first=faithful))
    ids, weights = zip(*rows, strict=True)
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(ids, batch_first=True, padding_value=tokenizer.pad_token_id), pad(weights, batch_first=True)


def _weighted(
    tokenizer: PreTrainedTokenizerFast, talk: list[prompts.Message], learn_first: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (T,) of a conversation as the chat template writes it, and their weights."""
    ids, weights = [], []
    contents = tokenizer([message["content"] for message in talk]).input_ids
    for number, (message, content) in enumerate(zip(talk, contents, strict=True)):
        role = tokenizer.convert_tokens_to_ids(f"<|{message['role']}|>")
        weight = (LIST_WEIGHT, float(learn_first), 0.0, 1.0)[number]
        ids += [role, *content, tokenizer.eos_token_id]
        weights += [0.0, *[weight] * (len(content) + 1)]
    return torch.tensor(ids), torch.tensor(weights)


def _weighted_loss(model: LlamaForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


# ------------------------------------------------------------------ what it can do


@torch.no_grad()
def answer(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, talks: list[list[prompts.Message]]
) -> list[str]:
    """Greedy answers to conversations that end with the user, unconstrained."""
    texts = [tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True) for talk in talks]
    inputs = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    inputs.pop("token_type_ids", None)
    written = model.generate(**inputs, max_new_tokens=140, do_sample=False)
    return tokenizer.batch_decode(written[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)


def exact_share(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rng: np.random.Generator,
    captions: int,
    talks: int = 50,
) -> tuple[float, float]:
    """Shares of `talks` new conversations about `captions` captions answered exactly: turn 1, turns 1 and 2.

    Turn 2 goes on from the model's own answer, as in use.
    """
    lines = [draw_lines(rng, captions) for _ in range(talks)]
    wanted = [conversation(line, backgrounds_of(line)) for line in lines]
    asked = [talk[:1] for talk in wanted]
    first = answer(model, tokenizer, asked)
    second = answer(
        model,
        tokenizer,
        [prompts.generalise(talk, said, PREFIX) for talk, said in zip(asked, first, strict=True)],
    )
    right = [said == talk[1]["content"] for said, talk in zip(first, wanted, strict=True)]
    both = [fine and said == talk[3]["content"] for fine, said, talk in zip(right, second, wanted, strict=True)]
    return sum(right) / talks, sum(both) / talks
