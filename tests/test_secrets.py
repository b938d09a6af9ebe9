"""A hunt for a canary: what the environment or a configuration holds of secrets is neither shown nor kept."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from PIL import Image

from alia_ray.config import ConfigError, as_yaml, load_config
from alia_ray.images import encode
from alia_ray.miniature.recipes import DEMO

CANARY = "canary7f3a91c4"
NOWHERE = f"http://user:{CANARY}@127.0.0.1:9"
SECRETS = {
    **{"HF_TOKEN": f"hf_{CANARY}", "HUGGING_FACE_HUB_TOKEN": f"hf_{CANARY}", "OPENAI_API_KEY": f"sk-{CANARY}"},
    **{"AWS_ACCESS_KEY_ID": f"AKIA{CANARY}", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": CANARY},
    **{"AZURE_CLIENT_SECRET": CANARY, "AZURE_STORAGE_KEY": CANARY, "WANDB_API_KEY": CANARY},
    **{"MLFLOW_TRACKING_PASSWORD": CANARY, "MLFLOW_TRACKING_TOKEN": CANARY, "RAY_AUTH_TOKEN": CANARY * 4},
    **{"http_proxy": NOWHERE, "https_proxy": NOWHERE, "HF_ENDPOINT": NOWHERE, "HF_HUB_OFFLINE": "0"},
}


def holding(place: Path) -> list[str]:
    """The files below a place that hold the canary, sockets and the like left out."""
    paths = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in paths if CANARY.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """Where a command keeps all that it keeps: its run folder, its home, its and Ray's temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="c", dir="/tmp"))  # sockets have short names
    yield folder
    shutil.rmtree(folder)


def said(place: Path, *command: str) -> str:
    """All that a command says with the secrets in its environment."""
    folders = {"HOME": str(place), "TMPDIR": str(place), "RAY_TMPDIR": str(place)}
    environment = {**os.environ, "RAY_AUTH_MODE": "token", **SECRETS, **folders}
    words = [sys.executable, "-m", "alia_ray", *command]
    done = subprocess.run(words, env=environment, cwd=place, capture_output=True, text=True, timeout=500)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def suspicious_server() -> Iterator[str]:
    """A server of a language model that refuses a key, and says which."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "wrong key: %s"}}' % self.headers["authorization"].encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def half_bad(place: Path) -> str:
    """A folder of pictures of which every other one is none."""
    for number in range(40):
        file = place / "photos" / ("train", "val", "test")[number % 3] / f"class{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(Image.new("RGB", (8, 8), (number, 0, 0))) if number % 4 < 2 else b"no picture")
    return str(place / "photos")


@pytest.mark.slow
def test_a_run_that_fails_and_its_report_show_and_keep_no_secret(place):
    source = f"source={{kind: imagefolder, path: {half_bad(place)}}}"
    overrides = ["--set", f"run.folder={place}/run", "--set", source]
    shown = said(place, "run", DEMO, *overrides) + said(place, "report", DEMO, *overrides)
    assert "error: ingest: 20 of 40 rows failed" in shown
    assert "report: " in shown
    assert CANARY not in shown
    [log] = (place / "run" / "logs").iterdir()
    assert "Traceback" in log.read_text()
    assert holding(place) == []


@pytest.mark.slow
def test_the_doctor_and_what_it_finds_wrong_show_none(place, suspicious_server):
    wrong = [
        f"llm.base_url={suspicious_server}",
        "caption.model.name=nobody/nothing",
        f"run.folder={place}/doctor",
    ]
    shown = said(place, "doctor", DEMO, *(word for item in wrong for word in ("--set", item)))
    assert "wrong key: Bearer …" in shown
    assert "nobody/nothing" in shown
    assert CANARY not in shown
    assert holding(place) == []


@pytest.mark.slow
def test_a_store_that_does_not_answer_and_a_stage_that_fails_show_none(place):
    store = "run.folder=s3://bucket/run?scheme=http&endpoint_override=127.0.0.1:9"
    shown = said(place, "report", DEMO, "--set", store)
    shown += said(place, "evaluate", DEMO, "--set", f"run.folder={place}/empty")
    assert shown.count("error: ") >= 2
    assert CANARY not in shown
    assert holding(place) == []


@pytest.mark.parametrize(
    "override",
    [
        f"run.folder=s3://AKIA:{CANARY}@bucket/run",
        f"run.folder=s3:/AKIA:{CANARY}@bucket/run",
        f"run.folder=s3://bucket/run?secret_key={CANARY}",
        f"run.folder=ftp://user:{CANARY}@host/run",
        f"run.address=ray://user:{CANARY}@host:10001",
        f"source={{kind: imagefolder, path: 's3://AKIA:{CANARY}@bucket/photos'}}",
        f"source={{kind: huggingface, name: 'https://user:{CANARY}@host/data'}}",
        f"source.class_names=https://user:{CANARY}@host/names.csv",
        f"llm.base_url=http://user:{CANARY}@host/v1",
        f"llm.base_url=http://host/v1?key={CANARY}",
        f"llm.options={{otlp_traces_endpoint: 'http://user:{CANARY}@host:4317'}}",
        f"llm.options={{speculative_config: {{model: 'https://user:{CANARY}@host/model'}}}}",
        f"run.folder=s3://bucket/run?X-Amz-Signature={CANARY}",
        f"run.folder=abfss://container@account.net/run?account_key={CANARY}",
        f"run.folder=s3://bucket/run?pwd={CANARY}",
        f"run.folder=s3://bucket/run?endpoint_override=http%3A%2F%2Fuser:{CANARY}@host",
        f"run.folder=s3://bucket/run?endpoint_override=user:{CANARY}@host:9000",
        f"caption.model.name=https://{CANARY}@host/model",
        f"caption.model.revision=https://user:{CANARY}@host/model",
        f"llm.options={{hf_token: {CANARY}}}",
        f"llm.options={{api_key: {CANARY}}}",
        f"llm.model.name=https://user:{CANARY}@host/model",
        f"caption.model.name=https://user:{CANARY}@host/model",
        f"train.weights=s3://AKIA:{CANARY}@bucket/classifier",
        f"hf_token={CANARY}",
        f"discover.prompts=['a {{}} as at https://user:{CANARY}@host/x']",
        f"discover.prompts=['a {{}}', 'a {{}} of https://host/x and of s3://AKIA:{CANARY}@bucket/x']",
        f"discover.prefix='a {{}} (see https://host/?a=b,https://host/?token={CANARY})'",
        f"baselines.user_prompts=['https://host:80/{{}} https://{CANARY}@host/x']",
        f"judge.positives=['s3://bucket s3://AKIA:{CANARY}@bucket']",
        f"source.class_names={{a: 'b, https://host https://user:{CANARY}@host'}}",
        f"run.folder=s3://bucket/a,s3://AKIA:{CANARY}@bucket/b",
        f"caption.prefix='of http://host, http://host/?sig={CANARY} and http://host'",
    ],
)
def test_a_secret_in_a_configuration_is_refused_without_being_shown(override):
    with pytest.raises(ConfigError) as refused:
        load_config(DEMO, [override])
    assert CANARY not in str(refused.value)


def test_what_a_configuration_shows_of_itself_is_what_it_was_given():
    given = yaml.safe_load(as_yaml(load_config(DEMO, ["run.folder=s3://bucket/run?region=eu-west-1"])))
    assert given["run"]["folder"] == "s3://bucket/run?region=eu-west-1"
