"""What CloudWatch needs of a line to make metrics of it."""

import json

from realtime.metrics import NAMESPACE, emit


def test_a_line_names_every_measure_with_its_unit_and_every_dimension(capsys):
    emit("test", {"delivered": (3, "Count"), "age": (1.5, "Seconds")}, entity="orders")
    line = json.loads(capsys.readouterr().out)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    assert directive["Dimensions"] == [["entity", "environment"]]
    assert directive["Metrics"] == [{"Name": "delivered", "Unit": "Count"}, {"Name": "age", "Unit": "Seconds"}]
    assert (line["delivered"], line["age"], line["entity"], line["environment"]) == (3, 1.5, "orders", "test")
    assert isinstance(line["_aws"]["Timestamp"], int)
