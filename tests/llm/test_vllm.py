"""Discovery through a real vLLM with the miniature's language model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from alia_ray.config import Discover, Llm, Model
from alia_ray.errors import StageError
from alia_ray.llm.client import Client
from alia_ray.llm.connection import Endpoint
from alia_ray.llm.discover import discover_domains
from alia_ray.llm.server import serving
from alia_ray.miniature import llm as miniature
from alia_ray.miniature.world import BACKGROUNDS
from alia_ray.models.naming import WEIGHTS
from alia_ray.store.run_folder import RunFolder

pytestmark = pytest.mark.slow
DISCOVER = Discover(prefix=miniature.PREFIX, captions="all", max_tokens=48)


SURROUNDINGS = {
    **{"VLLM_API_KEY": "x", "VLLM_PORT": "tcp://10.0.0.1:80", "RANK": "3", "WORLD_SIZE": "8"},
    **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9"),
}
"""What no server of ours takes notice of."""
OPTIONS = {
    "max_num_seqs": 4,
    "enable_prefix_caching": False,
    "chat_template": (WEIGHTS / "llm" / "chat_template.jinja").read_text(),
    "override_generation_config": {"top_p": 0.9},
}


@dataclass(frozen=True)
class Server:
    """A real vLLM with the miniature's language model, and the process that owns it."""

    owner: subprocess.Popen
    endpoint: Endpoint
    group: int  # of its processes
    log: Path
    phases: list[str]  # what it was busy with while it started


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    program = textwrap.dedent("""
        import json, sys
        from alia_ray.config import Llm, Model
        from alia_ray.llm.server import launch, wait_until_healthy
        options = json.loads(sys.argv[1])
        llm = Llm(model=Model(name="miniature:llm"), max_model_len=256, startup_timeout_s=400, options=options)
        server, phases = launch(llm, 0), []
        wait_until_healthy(server, llm, phases.append)
        print(json.dumps([server.endpoint.socket, server.group, str(server.log), phases]), flush=True)
        sys.stdin.read()
    """)
    owner = subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(OPTIONS)],
        env=os.environ | SURROUNDINGS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    socket, group, log, phases = json.loads(owner.stdout.readline())
    yield Server(owner, Endpoint("http://vllm/v1", socket), group, Path(log), phases)
    owner.kill()


@pytest.fixture
def vllm_endpoint(server: Server) -> Endpoint:
    return server.endpoint


@pytest.fixture
def miniature_llm() -> Llm:
    return Llm(model=Model(name="miniature:llm"), max_model_len=256)


def captions_of(places: list[str], count: int) -> list[str]:
    rng = np.random.default_rng(7)
    return [miniature.draw_caption(rng, places[i % len(places)]) for i in range(count)]


def test_the_places_of_the_captions_are_discovered(vllm_endpoint, miniature_llm):
    places = ["forest", "lake", "snow"]
    captions = captions_of(places, 12)
    found = discover_domains(captions, ["tarrel", "mirrol"], DISCOVER, miniature_llm, vllm_endpoint, seed=0)
    assert [row["prompt"] for row in found.domains] == [
        f"{miniature.PREFIX} {BACKGROUNDS[place]}" for place in places
    ]
    assert [row["support"] for row in found.domains] == [
        sum(BACKGROUNDS[place].split()[-1] in caption.split() for caption in captions) for place in places
    ]


def test_many_captions_are_read_in_chunks_and_give_the_same_twice(vllm_endpoint, miniature_llm):
    places = ["meadow", "beach", "desert", "night"]
    captions = captions_of(places, 200)
    found = [
        discover_domains(captions, ["tarrel", "mirrol"], DISCOVER, miniature_llm, vllm_endpoint, seed=0)
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert [row["prompt"] for row in found[0].domains] == [f"{miniature.PREFIX} {BACKGROUNDS[p]}" for p in places]
    assert [step["step"] for step in found[0].transcript].count("summarise a chunk") >= 2


def test_the_answer_keeps_to_the_number_of_domains(vllm_endpoint, miniature_llm):
    discover = DISCOVER.model_copy(update={"max_domains": 2})
    captions = captions_of(list(BACKGROUNDS), 16)
    found = discover_domains(captions, ["tarrel", "mirrol"], discover, miniature_llm, vllm_endpoint, seed=0)
    assert 1 <= len(found.domains) <= 2


def test_tokens_are_those_of_the_served_tokenizer(vllm_endpoint, miniature_llm):
    client = Client(vllm_endpoint, miniature_llm.model.name, 30, seed=0)
    assert client.count_tokens("- a photo of a red bird in the snow\n") == 6
    places = list(BACKGROUNDS)
    lines = [f"- {caption}\n" for caption in (*captions_of(places, 40), "a bird.", "odd – Ċ <0x0A> 海", '"1, 2"')]
    assert client.count_lines(lines, one_by_one=False) == [client.count_tokens(line) for line in lines]


def test_an_answer_too_long_for_its_limit_is_an_error(vllm_endpoint, miniature_llm):
    discover = DISCOVER.model_copy(update={"max_tokens": 16})
    with pytest.raises(StageError, match=r"raise discover\.max_tokens"):
        discover_domains(captions_of(list(BACKGROUNDS), 16), [], discover, miniature_llm, vllm_endpoint, seed=0)


def test_a_model_that_cannot_be_served_is_reported_with_the_log(tmp_path):
    broken = shutil.copytree(WEIGHTS / "llm", tmp_path / "broken")
    (broken / "config.json").write_text("{}")
    llm = Llm(model=Model(name=str(broken)), max_model_len=256, startup_timeout_s=400)
    with (
        pytest.raises(StageError, match=r"(?s)ended before it was ready.*its log.*Error"),
        serving(llm, 0, RunFolder(str(tmp_path))),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gpu_memory_utilisation": 0.5}, "vLLM has no option gpu-memory-utilisation"),
        ({"kv_cache_dtype": "no-such-kind"}, "vLLM does not take this value of kv-cache-dtype"),
    ],
)
def test_an_option_that_vllm_does_not_take_is_named(tmp_path, options, said):
    llm = Llm(model=Model(name="miniature:llm"), max_model_len=256, startup_timeout_s=400, options=options)
    with pytest.raises(StageError, match=said), serving(llm, 0, RunFolder(str(tmp_path))):
        pass


def test_a_server_of_ours_takes_options_and_no_notice_of_its_surroundings(server, miniature_llm):
    captions = captions_of(["lake"], 6)
    found = discover_domains(captions, ["tarrel"], DISCOVER, miniature_llm, server.endpoint, seed=0)
    assert [row["prompt"] for row in found.domains] == [f"{miniature.PREFIX} {BACKGROUNDS['lake']}"]
    assert "loads the weights" in server.phases
    assert "'max_num_seqs': 4" in server.log.read_text()


def test_a_killed_owner_leaves_no_vllm_process(server):
    """The last test of this file: the server that all others asked must be gone."""
    assert len(group_members(server.group)) >= 3  # the supervisor, the API server, the engine
    os.kill(server.owner.pid, signal.SIGKILL)
    server.owner.wait()
    deadline = time.monotonic() + 30
    while group_members(server.group) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert group_members(server.group) == []


def group_members(group: int) -> list[int]:
    """The processes of a process group that are no zombies."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        if int(pgrp) == group and state != "Z":
            members.append(int(stat.parent.name))
    return members
