"""Whether the language model of `llm.base_url` can be asked, before other work is done for it."""

from collections.abc import Iterator

from alia_ray.config import Config, Llm
from alia_ray.config.places import as_given
from alia_ray.llm.client import Client
from alia_ray.llm.connection import Endpoint, ServerFailure, open_client, served_models

TIMEOUT_S = 10.0


def wrong_things(settings: Config) -> Iterator[str]:
    """What is wrong with the server that runs already; nothing is asked where none is needed.

    No captions are sent. Ask only while there are no domains: later the server may be gone.
    """
    if settings.discover.prompts is not None or settings.llm.base_url is None:
        return
    try:
        yield from _unlike(settings.llm, Endpoint(settings.llm.base_url))
    except ServerFailure as error:
        yield str(error)


def _unlike(llm: Llm, endpoint: Endpoint) -> Iterator[str]:
    """Where the server is not as the configuration says. It knows the model as it is written there."""
    name = as_given(llm.model.name)  # a folder of that name may lie here
    with open_client(endpoint, TIMEOUT_S) as http:
        models = served_models(http, endpoint)
    listed = next((model for model in models if model["id"] == name), None)
    if listed is None:
        # Some servers list other names than they take (llama.cpp: a path; Ollama: name:latest), or none.
        Client(endpoint, name, llm.request_timeout_s, seed=0).says_anything()
        return
    context = listed.get("max_model_len")  # vLLM says it
    if isinstance(context, int) and context < llm.max_model_len:
        yield f"llm.max_model_len: {endpoint.name} has a context of {context} tokens; set it to that"
