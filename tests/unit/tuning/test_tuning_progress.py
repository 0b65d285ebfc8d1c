from __future__ import annotations

from tuning.journal import Finished
from tuning.progress import Table


def test_table_has_a_line_for_each_trial_and_marks_a_new_best() -> None:
    table = Table("average_precision", trials=20)
    params = {"max_depth": 3, "learning_rate": 0.123456}
    lines = [
        table.head(list(params)),
        table.row(1, Finished(params, 0.61234, 40, 50, 1.25)),
        table.row(2, Finished(params, 0.6, 300, 300, 112.0)),
        table.row(3, Finished({"max_depth": 10, "learning_rate": 0.03}, 0.7, 90, 90, 2.5)),
    ]
    assert lines == [
        "    trial  average_precision   best/trained   seconds  max_depth  learning_rate",
        "     1/20             0.6123*         40/50       1.2          3         0.1235",
        "     2/20             0.6000        300/300     112.0          3         0.1235",
        "     3/20             0.7000*         90/90       2.5         10           0.03",
    ]
