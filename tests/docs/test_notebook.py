"""The page about Python is a notebook that runs."""

import importlib.util
import json
import shutil
from pathlib import Path

from a_run import small

from alia_ray.config import as_yaml

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("docs_notebook", DOCS / "notebook.py")
notebook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebook)


def test_the_notebook_is_what_the_script_writes():
    assert notebook.NOTEBOOK.read_text() == notebook.written()


def test_every_cell_of_the_notebook_runs(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "runs/demo")
    Path("runs/demo/config.yaml").write_text(as_yaml(small(Path("runs/demo"))))
    cells = [cell for cell in json.loads(notebook.NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    namespace: dict[str, object] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), namespace)
    edit = namespace["edit"]
    assert edit["verdict"] == "kept"
    assert set(namespace["pictures"]) == {edit["edit_id"], edit["image_id"]}
    assert namespace["run"].folder == str(tmp_path / "runs" / "demo")
