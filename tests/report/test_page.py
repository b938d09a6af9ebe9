from alia_ray.report.page import duration, points, with_code


def test_numbers_are_written_for_people():
    assert points(-0.1234) == "−12.3"
    assert points(-0.0001) == "+0.0"
    assert [duration(s).replace("\u00a0", " ") for s in (0.042, 59, 200, 7500)] == [
        "0.042 s",
        "59 s",
        "3 min 20 s",
        "2 h 05 min",
    ]


def test_backticks_are_code_and_what_is_between_stays_text():
    assert with_code("as `a: <b>` says") == "as <code>a: &lt;b&gt;</code> says"
