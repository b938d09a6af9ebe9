import re
import time

import pytest
import ray

from alia_ray import progress
from alia_ray.config import Config, parse_config
from alia_ray.errors import StageError
from alia_ray.stages import discover as stage
from alia_ray.stages.discover import run_discover


def settings(**sections) -> Config:
    run, source = {"folder": "nowhere"}, {"kind": "miniature"}
    return parse_config({"run": run, "source": source, **sections})


def test_given_prompts_need_neither_an_llm_nor_ray():
    (found,) = run_discover({"f": []}, ["gull"], settings(discover={"prompts": ["a photo of a {} in the rain"]}))
    assert [row["prompt"] for row in found.domains] == ["a photo of a {} in the rain"]


def test_a_server_that_runs_is_used_as_it_is(fake_llm):
    replies = iter(
        ['{"descriptions":["a photo of a bird at sea"]}', '{"prompts":["a photo of a {} bird at sea"]}']
    )
    fake_llm.reply = lambda request: next(replies)
    llm = {"base_url": fake_llm.base_url, "model": {"name": "fake"}}
    (found,) = run_discover(
        {"f": ["a bird at sea"]}, ["gull"], settings(llm=llm, discover={"prefix": "a photo of a {} bird"})
    )
    assert [(row["prompt"], row["support"]) for row in found.domains] == [("a photo of a {} bird at sea", 1)]


def test_a_cluster_without_room_is_an_error_and_no_endless_wait(ray_cluster):
    @ray.remote(num_cpus=ray.cluster_resources()["CPU"])
    class Hog:
        def is_there(self) -> bool:
            return True

    hog = Hog.remote()
    ray.get(hog.is_there.remote(), timeout=60)
    llm = {"model": {"name": "miniature:llm"}, "startup_timeout_s": 2}
    with pytest.raises(StageError, match=r"no node had one CPU.*within 2 s"):
        run_discover({"f": ["a bird at sea"]}, ["gull"], settings(llm=llm))
    ray.kill(hog)


def test_a_mistake_in_the_worker_comes_back_as_it_is(ray_cluster):
    llm = {"model": {"name": "random:llama"}}
    with pytest.raises(ValueError, match=r"^llm\.model\.name: a language model cannot be 'random:llama'"):
        run_discover({"f": ["a bird at sea"]}, ["gull"], settings(llm=llm))


def test_waiting_says_now_and_then_what_the_worker_is_busy_with(ray_cluster, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.5)

    @ray.remote(max_concurrency=2)
    class Host:
        def doing(self) -> tuple[str, int, int]:
            return "vLLM loads the weights", 0, 0

        def discover(self) -> list[str]:
            time.sleep(1.5)
            return ["found"]

    monkeypatch.setattr(stage, "LOOK_EVERY_S", 0.2)
    host = Host.remote()
    assert stage._wait(host, host.discover.remote()) == ["found"]
    said = capsys.readouterr().err.splitlines()
    assert said  # and no line at the end, as nothing was counted
    assert all(re.fullmatch(r"discover: vLLM loads the weights \(\d\.\d s\)", line) for line in said)
    ray.kill(host)
