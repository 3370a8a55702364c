"""What an invocation leaves in CloudWatch: structured logs and metrics (EMF), and X-Ray segments when tracing is on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit


def _level() -> int:
    """OMNI_LOG_LEVEL, or INFO where it names none: a log level is no reason not to start (Settings will say so)."""
    return logging.getLevelNamesMapping().get(os.environ.get("OMNI_LOG_LEVEL", "").upper(), logging.INFO)


_deployment = os.environ.get("OMNI_DEPLOYMENT") or "omnisentinel"
"""The metrics' ``service``: an account can hold several deployments, and each has alarms of its own."""
_logger = Logger(service=_deployment, level=_level())
NAMESPACE = "OmniSentinel"
_metrics = Metrics(namespace=NAMESPACE, service=_deployment)
for _name in ("core", "handlers"):  # our own loggers write through the same formatter, and not twice
    _own = logging.getLogger(_name)
    _own.handlers[:] = [_logger.registered_handler]
    _own.setLevel(_level())
    _own.propagate = False


class Seen:
    """How an invocation went; ``failed`` is set by the function where it answers with a failure of ours.
    ``counts``: more metrics, by name."""

    def __init__(self) -> None:
        self.failed = False
        self.counts: dict[str, int] = {}


@contextmanager
def observed(function: str, context: Any) -> Iterator[Seen]:
    """Around one invocation: its request id on every log line, its duration and outcome as metrics.

    A failure counts once more in FailedOfVersion, whose ``version`` tells a canary's failures from the old version's:
    ask and work end well for Lambda when they fail. A metric costs where it is written, so a success writes none.
    """
    started, seen = time.monotonic(), Seen()
    _logger.append_keys(function=function, request=context.aws_request_id)
    try:
        with _segment(function):
            yield seen
    except BaseException:
        seen.failed = True
        raise
    finally:
        _metrics.add_dimension(name="function", value=function)
        _metrics.add_metric(name="Duration", unit=MetricUnit.Milliseconds, value=(time.monotonic() - started) * 1_000)
        _metrics.add_metric(name="Failed", unit=MetricUnit.Count, value=int(seen.failed))
        for name, count in seen.counts.items():
            _metrics.add_metric(name=name, unit=MetricUnit.Count, value=count)
        _metrics.flush_metrics()
        if seen.failed:
            _count_of_version(function)


def _count_of_version(function: str) -> None:
    version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION") or "$LATEST"
    with single_metric("FailedOfVersion", MetricUnit.Count, 1, namespace=NAMESPACE) as metric:
        for name, value in (("function", function), ("service", _deployment), ("version", version)):
            metric.add_dimension(name=name, value=value)


@contextmanager
def _segment(name: str) -> Iterator[None]:
    if os.environ.get("OMNI_TRACING", "").lower() not in ("1", "true"):
        yield
        return
    from aws_lambda_powertools import Tracer  # 190 ms of import: only where tracing is on

    with Tracer(service=_deployment).provider.in_subsegment(f"## {name}"):
        yield
