import os

from alia_ray.cluster import environment


def test_a_named_list_is_handed_on_and_the_key_of_the_llm_is_not(monkeypatch):
    given = {
        **{
            "HF_TOKEN": "a",
            "HUGGING_FACE_HUB_TOKEN": "b",
            "AWS_ENDPOINT_URL": "c",
            "GOOGLE_APPLICATION_CREDENTIALS": "d",
        },
        **{"AZURE_CLIENT_SECRET": "e", "WANDB_API_KEY": "f", "MLFLOW_TRACKING_URI": "g", "NO_PROXY": "h"},
        **{"https_proxy": "i", "SSL_CERT_FILE": "j", "REQUESTS_CA_BUNDLE": "k"},
    }
    others = {
        "OPENAI_API_KEY": "x",
        "RAY_AUTH_TOKEN": "x",
        "HOME": "/",
        "PATH": "/",
        "SECRET": "x",
        "CUDA_VISIBLE_DEVICES": "0",
    }
    monkeypatch.setattr(os, "environ", {**given, **others})
    assert environment.handed_on() == given


def test_a_worker_takes_what_the_driver_had_over_its_own(monkeypatch):
    monkeypatch.setattr(os, "environ", {"HF_TOKEN": "mine"})
    take = environment.taking_it()
    monkeypatch.setattr(os, "environ", {"HF_TOKEN": "the node's", "HOME": "/"})
    take()
    assert os.environ == {"HF_TOKEN": "mine", "HOME": "/"}
