"""What `ray job submit` runs for an experiment: `python jobs/experiment.py RECIPE.yaml [--set STAGE.KEY=VALUE …]`.

Joins the cluster the job was submitted to, and exits with the code of `alia-ray experiment`: 0 done, 1 a stage
failed, 2 the configuration is wrong. Submitted again with the same run.folder, it repeats nothing finished.
"""

import sys

from alia_ray.cli import app

if __name__ == "__main__":
    app(["experiment", *sys.argv[1:]])
