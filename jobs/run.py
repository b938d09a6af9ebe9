"""What `ray job submit` runs: `python jobs/run.py CONFIG.yaml [--set STAGE.KEY=VALUE ...]`.

Joins the cluster the job was submitted to, runs every stage, and exits with the code of `alia-ray run`:
0 done, 1 a stage failed, 2 the configuration is wrong. Submitted again with the same run.folder, it resumes.
"""

import sys

from alia_ray.cli import app

if __name__ == "__main__":
    app(["run", *sys.argv[1:]])
