"""Prometheus' text form, read back by Prometheus' own parser."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from minirund.engine.exposition import Histogram, Sample, escape, family, labels


@pytest.mark.parametrize("value", ["", "web", 'a"b', "a\\b", "a\nb", '\\"\n\\n', "ü,}{=", "a\\"])
def test_a_label_comes_back_as_it_was(value: str) -> None:
    (found,) = parse(family("x", "gauge", "An x", [Sample(labels({"name": value, "other": "1"}), 7)]))
    assert [(one.labels, one.value) for one in found.samples] == [({"name": value, "other": "1"}, 7.0)]


def test_what_is_escaped() -> None:
    assert escape('\\ " \n') == r"\\ \" \n"


def test_no_samples_are_no_lines() -> None:
    assert family("x", "gauge", "An x", []) == ""


def test_large_and_small_numbers_are_exact() -> None:
    text = family("x", "counter", "X", [Sample("", 2**53 - 1), Sample("", 1e-7)])
    (found,) = parse(text)
    assert [one.value for one in found.samples] == [2**53 - 1, 1e-7]


def test_a_histogram_counts_upwards() -> None:
    one = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 3.0):
        one.observe(seconds)
    (found,) = parse(family("took_seconds", "histogram", "How long", one.samples(action="start")))
    assert found.type == "histogram"
    assert [(each.name, each.labels.get("le"), each.value) for each in found.samples] == [
        ("took_seconds_bucket", "0.1", 2.0),
        ("took_seconds_bucket", "1.0", 3.0),
        ("took_seconds_bucket", "+Inf", 4.0),
        ("took_seconds_sum", None, 3.65),
        ("took_seconds_count", None, 4.0),
    ]
    assert all(each.labels["action"] == "start" for each in found.samples)
