"""python.md -> python.ipynb: each block of Python is a cell, and so is the text between two of them.

python docs/notebook.py
"""

import json
import re
from pathlib import Path

PAGE = Path(__file__).with_name("python.md")
NOTEBOOK = PAGE.with_suffix(".ipynb")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def written() -> str:
    """The notebook of the page, without outputs."""
    parts = _BLOCK.split(PAGE.read_text(encoding="utf-8"))  # text, code, text, …
    cells = [_cell(number, part.strip()) for number, part in enumerate(parts) if part.strip()]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(number: int, text: str) -> dict[str, object]:
    cell = {"id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
    if number % 2:
        return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}
    return {"cell_type": "markdown", **cell}


if __name__ == "__main__":
    NOTEBOOK.write_text(written(), encoding="utf-8")
