"""The run folder -> the page. Jinja escapes everything that comes from data."""

import posixpath
import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from alia_ray.config.filters import VARIANTS
from alia_ray.plain_text import plain
from alia_ray.report import charts, comparison, confusions, gains, samples, sections
from alia_ray.report.inputs import ReportInputs
from alia_ray.report.numbers import Shown, shown
from alia_ray.report.pictures import LARGEST
from alia_ray.statistics.comparing import FEWEST, MOST_GROUPS
from alia_ray.store.run_folder import RunFolder
from alia_ray.store.tables import VERDICTS

_OUTDATED = "An earlier version wrote this comparison. `alia-ray experiment` writes it anew and trains nothing."


def build_report(folder: RunFolder, inputs: ReportInputs, of: Shown | None = None) -> str:
    """The page of a run: one HTML document that loads nothing and holds no script.

    What the run has not reached yet is said in one line. of: what `inputs` show, where it was asked for before.
    """
    of = shown(inputs) if of is None else of
    edits, prompts, labels, changed = of.edits, of.prompts, of.labels, of.changed
    compared = _comparison(inputs.experiment)
    content = {
        "name": posixpath.basename(folder.file().rstrip("/")),
        "style": files("alia_ray.report").joinpath("style.css").read_text(),
        "inputs": inputs,
        "verdicts": VERDICTS,
        "counts": sections.counts(of.images, edits, of.domains, inputs),
        "cards": gains.cards(
            inputs.metrics, inputs.experiment if compared and compared["tables"] else None, inputs.predictions
        ),
        "seeds": len(inputs.experiment["seeds"]) if inputs.experiment else 1,
        "alone": None if inputs.experiment is None else inputs.experiment["seeds"][0],
        "costs": sections.edit_costs(edits, of.seconds, inputs.metrics),
        "domains": of.domains,
        "caption_count": of.captions,
        "prompts": prompts,
        "crossing": sections.crossing(edits, labels, list(prompts)),
        "added": sections.added(edits, list(prompts)),
        "verdict_counts": sections.counts_by(edits).get((), {}),
        "by_class": sections.acceptance(edits, "label", {label: label for label in labels}),
        "by_domain": sections.acceptance(edits, "domain_id", prompts),
        "variants": of.variants,
        "uncounted": [name for name in VARIANTS if name not in {row["name"] for row in of.variants}],
        "added_by": gains.augmented(inputs.metrics.get("arms") or {}),
        "metric_names": list(gains.METRICS.values()),
        "arms": gains.arm_rows(inputs.metrics),
        "per_class": gains.breakdown(inputs.metrics, "per_class", inputs.predictions),
        "per_group": gains.breakdown(inputs.metrics, "per_group", inputs.predictions),
        "no_groups": gains.why_no_groups(inputs.metrics, inputs.predictions),
        "fewest": FEWEST,
        "most_groups": MOST_GROUPS,
        "changed": changed,
        "in_numbers": confusions.IN_NUMBERS,
        "curves": sections.curves(inputs.history),
        "tested_epochs": gains.tested_epochs(inputs.metrics),
        "chart_size": (charts.WIDTH, charts.HEIGHT),
        "comparison": compared,
        "stages": sections.stage_times(inputs.metrics),
        "time": sections.time_of(inputs.metrics),
        "errors": sections.grouped_errors(inputs.errors),
        **samples.draw(of.relation, list(prompts), changed, inputs),
        "largest": LARGEST,
    }
    return _environment().get_template("page.html.jinja").render(content)


def _comparison(experiment: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the page says of an experiment, if there was one."""
    if experiment is None:
        return None
    if comparison.is_outdated(experiment):
        return {"caption": _OUTDATED, "tables": [], "arms": [], "amounts": []}
    return {
        "caption": comparison.caption(experiment),
        "tables": comparison.tables(experiment),
        "arms": comparison.charts_of_arms(experiment),
        "amounts": comparison.charts_of_amounts(experiment),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("alia_ray.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "ends": ends,
        "number": number,
        "duration": duration,
        "with_code": with_code,
    }
    return environment


def _harmless(value: Any) -> Any:
    """What a template shows, if it is text that is not ours: older tables hold it as it came."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def with_code(text: str) -> Markup:
    """What stands between backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(plain(text)))))


# ------------------------------------------------------------------ how numbers are written


def percent(value: float | None) -> str:
    """0.873 -> "87.3 %"."""
    return "–" if value is None else f"{100 * value:.1f}\u00a0%"


def points(value: float | None) -> str:
    """A difference of shares in percentage points: 0.123 -> "+12.3"."""
    return "" if value is None else f"{100 * value:+z.1f}".replace("-", "−")


def ends(interval: list[float] | None) -> str:
    """An interval of a difference, in points: "[+3.1, +20.0]"; nothing without one."""
    return "" if interval is None else f"[{points(interval[0])}, {points(interval[1])}]"


def number(value: int | None) -> str:
    """12345 -> "12,345"."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: "0.042 s", "7.5 s", "3 min 20 s", "2 h 05 min"."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.3g}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min {rest:02d}\u00a0s"
    return f"{minutes // 60}\u00a0h {minutes % 60:02d}\u00a0min"
