"""torchvision's weights: what is in the cache or comes from the network is not believed unseen."""

import hashlib
import io
import os
import re
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from alia_ray.checks.training import _missing_imagenet
from alia_ray.models.classifier import build_classifier
from alia_ray.models.imagenet import cached, imagenet_weights


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


TENSORS = saved({"conv1.weight": torch.ones(2)})


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Publish some bytes in torchvision's name; the cache is an empty folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))

    def published(content: bytes) -> Path:
        source = tmp_path / f"resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        source.write_bytes(content)
        weights = [SimpleNamespace(url=source.as_uri())]
        monkeypatch.setattr("torchvision.models.get_model_weights", lambda architecture: weights)
        return source

    return published


def in_cache(source: Path, content: bytes) -> Path:
    place = cached(source.as_uri())
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    return place


class RunsCode:
    """A pickle of it makes a file as it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.file),)


def test_weights_are_downloaded_once_and_read_as_tensors(publish):
    source = publish(TENSORS)
    assert imagenet_weights("resnet18")["conv1.weight"].tolist() == [1, 1]
    source.unlink()
    assert imagenet_weights("resnet18")["conv1.weight"].tolist() == [1, 1]


def test_a_densenet_takes_all_that_its_file_holds_by_older_names(publish):
    wanted = build_classifier("densenet121", "none", 3).state_dict()
    older = {
        re.sub(r"(denselayer\d+\.(norm|conv))([12]\.)", r"\1.\3", name): each for name, each in wanted.items()
    }
    assert len(set(older) - set(wanted)) > 100
    publish(saved(older))
    found = build_classifier("densenet121", "imagenet", 2).state_dict()
    assert all(name.startswith("classifier.") or torch.equal(found[name], each) for name, each in wanted.items())


def test_a_tampered_file_in_the_cache_is_refused_before_the_run_and_as_it_is_read(publish):
    place = in_cache(publish(TENSORS), saved({"conv1.weight": torch.zeros(2)}))
    with pytest.raises(ValueError, match=r"the SHA-256 of .*resnet18-\w+\.pth begins with \w{8}, not as its name"):
        imagenet_weights("resnet18")
    assert [sentence for sentence in _missing_imagenet("resnet18") if str(place) in sentence]


def test_a_file_in_the_cache_that_would_run_code_does_not(publish, tmp_path):
    in_cache(publish(TENSORS), saved(RunsCode(tmp_path / "ran")))
    with pytest.raises(ValueError, match="SHA-256"):
        build_classifier("resnet18", "imagenet", 2)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_with_the_right_hash_runs_no_code_either(publish, tmp_path):
    publish(saved(RunsCode(tmp_path / "ran")))
    with pytest.raises(ValueError, match="holds more than tensors; delete it"):
        imagenet_weights("resnet18")
    assert not (tmp_path / "ran").exists()


def test_a_download_that_is_not_what_its_name_says_never_reaches_the_cache(publish):
    source = publish(TENSORS)
    source.write_bytes(TENSORS + b"!")
    with pytest.raises(ValueError, match="is not what its name says"):
        imagenet_weights("resnet18")
    assert not cached(source.as_uri()).exists()


def test_missing_weights_say_what_to_do(monkeypatch, tmp_path):
    def no_network(*_args, **_options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match=r"set train\.weights to none, or place https://\S+/resnet18-\w+\.pth at "):
        build_classifier("resnet18", "imagenet", 2)
