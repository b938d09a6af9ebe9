"""docs/run.md names the keys of metrics.json."""

import re
from pathlib import Path

from a_wide_page import inputs

from alia_ray.report.numbers import numbers, shown
from alia_ray.store.run_folder import RunFolder

DOCS = Path(__file__).parents[2] / "docs" / "run.md"


def test_every_key_of_the_metrics_is_documented(tmp_path):
    text = DOCS.read_text().partition("### metrics.json")[2].partition("\n## ")[0]
    words = set(re.findall(r"\w+", text))
    given = inputs(RunFolder(str(tmp_path / "run")))
    metrics = numbers(shown(given), given)
    keys = {*metrics, *metrics["counts"], *metrics["time"], *metrics["edits"], *metrics["confusions"]}
    keys |= {
        key for name in ("classes", "prompts", "filters") for of in metrics["edits"][name].values() for key in of
    }
    assert {"counts", "clock_per_kept", "in_force", "mended", "reused_in"} <= keys
    assert keys - words == set()
