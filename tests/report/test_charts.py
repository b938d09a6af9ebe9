from alia_ray.report.charts import line_chart


def test_a_chart_spans_its_axes_and_skips_what_is_not_finite():
    chart = line_chart({"a": [(1, 0.0), (2, float("inf")), (3, 1.0)], "b": []})
    assert chart is not None
    assert [len(line.points) for line in chart.lines] == [2]
    (x_low, y_low), (x_high, y_high) = chart.lines[0].points
    assert x_low < x_high
    assert y_low > y_high  # pixels go down
    assert line_chart({"a": []}) is None
    assert line_chart({"a": [(1, 0.5)]}) is not None
