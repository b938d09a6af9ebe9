"""A server that takes few requests at once is sent few, and every one of them is answered."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from alia_ray.llm import client
from alia_ray.llm.client import Client
from alia_ray.llm.pace import Pace

SCHEMA = {"properties": {"prompts": {"type": "array"}}}


@pytest.mark.parametrize("takes", [1, 4])
def test_all_are_answered_by_a_server_that_takes_few_at_once(fake_llm, monkeypatch, takes):
    monkeypatch.setattr(client, "PAUSES_S", (0.1, 0.2, 0.4, 0.8, 1.6))
    lock, now, turned_away = threading.Lock(), [0], [0]

    def reply(request):
        with lock:
            if now[0] == takes:
                turned_away[0] += 1
                return 429, "slow down"
            now[0] += 1
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return json.dumps({"prompts": [request["messages"][0]["content"]]})

    fake_llm.reply = reply
    asking = Client(fake_llm.endpoint, "fake", 30, seed=0)
    texts = [f"text {n}" for n in range(80)]

    def ask(text: str) -> list[str]:
        return asking.ask([{"role": "user", "content": text}], SCHEMA, 16, 0.0).items

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(ask, texts)) == [[text] for text in texts]
    assert 0 < turned_away[0] < 120


def test_a_busy_answer_halves_what_is_sent_at_once_and_answers_raise_it_again():
    pace = Pace()

    def sent_at_once(busy: bool) -> int:
        """How many of eight threads are sent at once, which all hear the same answer."""
        lock, now, most = threading.Lock(), [0], [0]

        def send(_: int) -> None:
            with pace.turn() as heard:
                with lock:
                    now[0] += 1
                    most[0] = max(most[0], now[0])
                time.sleep(0.1)
                heard(busy)
                with lock:
                    now[0] -= 1

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(send, range(8)))
        return most[0]

    assert sent_at_once(busy=False) == 8
    assert sent_at_once(busy=True) == 8  # of which the first lowers it to four
    assert sent_at_once(busy=False) in (4, 5)
    for _ in range(5):
        raised = sent_at_once(busy=False)
    assert raised > 6
