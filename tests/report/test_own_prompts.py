import pyarrow as pa

from alia_ray.config import Judge
from alia_ray.report.inputs import ReportInputs
from alia_ray.report.page import build_report
from alia_ray.store.run_folder import RunFolder


def test_prompts_of_ones_own_are_not_told_as_found_in_captions(tmp_path):
    folder = RunFolder(str(tmp_path))
    domains = folder.table("domains", "own")
    own = {"domain_id": "d0", "prompt": "a photo of a {} bird on a lake", "support": 0, "captions_read": 0}
    domains.commit(pa.Table.from_pylist([own], schema=domains.schema))
    page = build_report(folder, ReportInputs(folder.table("images", "none"), Judge(), domains=domains))
    assert "Your own prompts" in page
    assert "a photo of a {} bird on a lake" in page
    assert "found in the captions" not in page
    assert "No captions yet" not in page
