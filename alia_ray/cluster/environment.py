"""What of the person's environment the workers of a cluster get: keys, proxies, certificates, trackers' settings.

A Ray that the run starts itself has it all. On a cluster that is joined the workers have the environment in which
somebody once started its nodes. Ray's `runtime_env={"env_vars": …}` would hand the values on, and show them in its
dashboard, its state API and the logs on every node. So a function that holds them is handed on, which each worker
calls as it starts: Ray shows its name, and gives it to whoever may run things on the cluster.
"""

import os
from collections.abc import Callable

PREFIXES = ("HF_", "HUGGING_FACE_", "AWS_", "GOOGLE_", "AZURE_", "WANDB_", "MLFLOW_")
NAMES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
"""In capitals or not. OPENAI_API_KEY is none of them: the driver alone asks `llm.base_url`."""


def handed_on() -> dict[str, str]:
    """The variables of this process that workers get, over what their node says."""
    return {
        name: value for name, value in os.environ.items() if name.startswith(PREFIXES) or name.upper() in NAMES
    }


def taking_it() -> Callable[[], None]:
    """What a worker calls as it starts, to have this process's variables."""
    variables = handed_on()

    def take_environment() -> None:
        os.environ.update(variables)

    return take_environment
