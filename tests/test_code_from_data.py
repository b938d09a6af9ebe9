"""Nothing that a run reads can become code: no pickle, no eval, no shell, no program but vLLM."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import alia_ray

PACKAGE = Path(alia_ray.__file__).parent
FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "code",
    "pty",
    "zipfile",
}
FORBIDDEN_CALLS = {
    *(
        "eval",
        "exec",
        "compile",
        "__import__",
        "os.system",
        "os.popen",
        "tempfile.mktemp",
        "ssl._create_unverified_context",
    ),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "pandas.read_pickle", "pd.read_pickle"),
}
FORBIDDEN_ENDINGS = ("execl", "execv", "execve", "execvp", "spawnl", "spawnv", "extractall", "unsafe_load")
FORBIDDEN_ENDINGS += ("pickle.load", "pickle.loads", "hub.load", "load_state_dict_from_url", "get_state_dict")
ALLOWED_MODULES = {"models/imagenet.py": {"pickle"}}
"""Where the name of an exception is needed, of a file that torch refuses to unpickle."""
PROGRAMS = {"llm/server.py", "llm/supervisor.py"}
"""What starts a program: vLLM, by a list of words that the configuration has passed the check of."""
MUST_SAY = {  # of a call: what it has to be told, and what it must not be
    "torch.load": ("weights_only", True),
    "Image.open": ("formats", None),
    "Environment": ("autoescape", True),
}
MUST_NOT_SAY = {
    "shell": True,
    "allow_pickle": True,
    "trust_remote_code": True,
    "verify": False,
    "weights_only": False,
}


def findings(source: str, place: str) -> Iterator[str]:
    """What a module does that could make code of data."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules = {name.split(".")[0] for name in [*names, *(alias.name for alias in node.names)]}
            yield from sorted(modules & FORBIDDEN_MODULES - ALLOWED_MODULES.get(place, set()))
            if "subprocess" in modules and place not in PROGRAMS:
                yield "subprocess"
        elif isinstance(node, ast.Call):
            yield from _of_call(ast.unparse(node.func), {word.arg: word.value for word in node.keywords})
        elif isinstance(node, ast.Attribute) and node.attr in ("UnsafeLoader", "FullLoader", "Loader"):
            yield node.attr


def _of_call(name: str, words: dict[str | None, ast.expr]) -> Iterator[str]:
    if name in FORBIDDEN_CALLS or name.endswith(FORBIDDEN_ENDINGS):
        yield name
    if name in MUST_SAY:
        word, wanted = MUST_SAY[name]
        given = words.get(word)
        if given is None or (wanted is not None and getattr(given, "value", None) is not wanted):
            yield f"{name} without {word}"
    for word, bad in MUST_NOT_SAY.items():
        if word in words and getattr(words[word], "value", None) is bad:
            yield f"{word}={bad}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_makes_no_code_of_data(path):
    assert list(findings(path.read_text(), path.relative_to(PACKAGE).as_posix())) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        f"{'pickle'}.loads(content)",
        "torch.hub.load_state_dict_from_url(url)",
        "from ray import cloudpickle",
        "import subprocess",
        "torch.load(path)",
        f"torch.load(path, weights_only={False})",
        "numpy.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "run(command, shell=True)",
        "os.system('ls')",
        "os.execv(a, b)",
        "eval(text)",
        "tar.extractall(folder)",
        f"AutoModel.from_pretrained(name, trust_remote_code={True})",
        "Image.open(file)",
        "Environment(loader=x)",
        "httpx.get(url, verify=False)",
    ],
)
def test_each_of_these_would_be_noticed(line):
    assert list(findings(line, "stages/x.py"))


def test_templates_trust_nothing_but_the_style():
    trusted = [re.findall(r"\{\{[^}]*\|\s*safe", path.read_text()) for path in PACKAGE.rglob("*.jinja")]
    assert [each for found in trusted for each in found] == ["{{ style | safe"]
    assert not any("autoescape false" in path.read_text() for path in PACKAGE.rglob("*.jinja"))
