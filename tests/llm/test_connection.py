"""Proxies, certificates and addresses."""

import pytest

from alia_ray.config import ConfigError
from alia_ray.llm.connection import Endpoint, ServerFailure, open_client, served_models

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in (*PROXIES, *map(str.upper, PROXIES)):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks://127.0.0.1:9", "socks5h://127.0.0.1:9"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_this_machine_is_asked_without_the_proxy(fake_llm, monkeypatch, proxy, host):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    endpoint = Endpoint(fake_llm.base_url.replace("127.0.0.1", host))
    with open_client(endpoint, 5) as client:
        assert served_models(client, endpoint) == [{"id": "fake"}]


def test_another_server_is_asked_through_the_proxy_which_is_mentioned_when_it_fails(fake_llm, monkeypatch):
    monkeypatch.setenv("http_proxy", fake_llm.base_url.removesuffix("/v1"))
    endpoint = Endpoint("http://gpu-7.invalid:8000/v1")
    with open_client(endpoint, 5) as client:
        served_models(client, endpoint)
        assert fake_llm.calls[0][0] == "http://gpu-7.invalid:8000/v1/models"
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with open_client(endpoint, 5) as client, pytest.raises(ServerFailure, match=r"add gpu-7\.invalid to NO_PROXY"):
        served_models(client, endpoint)


def test_a_host_of_no_proxy_is_asked_without_the_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "gpu-7.invalid")
    endpoint = Endpoint("http://gpu-7.invalid:8000/v1")
    with open_client(endpoint, 5) as client, pytest.raises(ServerFailure) as failure:
        served_models(client, endpoint)
    assert "proxy" not in str(failure.value)


def test_a_proxy_of_an_unknown_kind_is_one_sentence_without_its_password(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks://me:secret@proxy:1080")
    with pytest.raises(ConfigError, match=r"proxy that cannot be used.*NO_PROXY") as failure:
        open_client(Endpoint("http://gpu-7:8000/v1"), 5)
    assert "secret" not in str(failure.value)


def test_a_certificate_file_that_is_not_there_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        open_client(Endpoint("https://gpu-7:8000/v1"), 5)
