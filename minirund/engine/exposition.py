r"""Prometheus' text form, 0.0.4: lines of ``name{label="value"} number`` under a HELP and a TYPE line. Pure.

    # HELP container_threads Processes and threads.
    # TYPE container_threads gauge
    container_threads{name="web"} 3

Written by hand: it is these few lines, and a client library would cost the daemon megabytes for what it does not use.

Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: those of Prometheus' libraries, and so dockerd's."""


class Sample(NamedTuple):
    """One number. ``suffix`` goes behind the family's name (``_bucket``, ``_sum``); ``labels`` are written already."""

    labels: str
    value: float
    suffix: str = ""


class Histogram:
    """How often something took how long, since the daemon started."""

    def __init__(self, bounds: tuple[float, ...] = BUCKETS) -> None:
        self._bounds, self._counts, self._sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, seconds: float) -> None:
        """It took that long."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def samples(self, **about: str) -> Iterator[Sample]:
        """Its buckets, each counting what the ones before it count too, the sum and the count."""
        total = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield Sample(labels({**about, "le": bound}), total, "_bucket")
        yield Sample(labels(about), self._sum, "_sum")
        yield Sample(labels(about), total, "_count")


def labels(pairs: Mapping[str, str]) -> str:
    """{"name": "web"} -> 'name="web"'."""
    return ",".join(f'{name}="{escape(value)}"' for name, value in pairs.items())


def escape(value: str) -> str:
    r"""A label's value: backslash, quote and line feed behind a backslash."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> str:
    """All lines of one name; "" where there is no sample. ``kind``: counter, gauge or histogram."""
    lines = [f"{name}{one.suffix}{{{one.labels}}} {one.value}\n" for one in samples]
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n{''.join(lines)}" if lines else ""
