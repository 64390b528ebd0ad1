"""Figures for Prometheus: what this node answered, and what the centre as a whole looks like.

Requests are counted by the route's template, never by its values, so that the number of series is bounded by the
number of endpoints. Everything else is read from the database when somebody asks: all nodes tell the same.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from central.monitoring.collect import Facts
from shared import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asked for


class Metrics:
    """The counters of one node."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._facts: Facts | None = None
        self._requests = Counter(
            "counterflow_http_requests",
            "Requests answered.",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self._took = Histogram(
            "counterflow_http_seconds", "Time to answer.", ("path",), buckets=_SECONDS, registry=self.registry
        )
        self.registry.register(self)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every request; a failure that nobody caught counts as 500."""
        started = time.perf_counter()
        status = 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            resource = request.match_info.route.resource
            path = resource.canonical if resource is not None else "(unknown)"
            self._requests.labels(request.method, path, str(status)).inc()
            self._took.labels(path).observe(time.perf_counter() - started)

    def render(self, facts: Facts) -> bytes:
        """All figures as Prometheus reads them."""
        self._facts = facts
        try:
            return generate_latest(self.registry)
        finally:
            self._facts = None

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks of a collector."""
        yield InfoMetricFamily(
            "counterflow_build", "The version of this node.", value={"version": __version__}
        )
        if self._facts is not None:
            yield from _documents(self._facts)
            yield from _stations(self._facts)
            yield from _integrations(self._facts)
            yield from _scopes(self._facts)


def _gauge(name: str, documentation: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"counterflow_{name}", documentation, labels=labels)


def _documents(facts: Facts) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "counterflow_documents", "Documents stored, by their positions.", value=facts.documents
    )
    states = _gauge("documents_open", "Documents that are not applied.", ["state"])
    for state in ("pending", "waiting", "parked", "held"):
        states.add_metric([state], getattr(facts, state))
    yield states
    yield GaugeMetricFamily(
        "counterflow_pending_oldest_seconds",
        "Age of the oldest document not applied yet.",
        value=facts.oldest_pending_s,
    )


def _stations(facts: Facts) -> Iterable[Metric]:
    by_state = _gauge("stations", "Stations by state.", ["state"])
    counts: dict[str, int] = {"new": 0, "waiting": 0, "active": 0, "revoked": 0}
    for station in facts.stations:
        counts[station.state] = counts.get(station.state, 0) + 1
    for state, count in counts.items():
        by_state.add_metric([state], count)
    yield by_state
    backlog = _gauge(
        "station_backlog", "Documents not sent yet, by the station's last report.", ["station", "store"]
    )
    seen = _gauge("station_seen_seconds", "Seconds since the station was last seen.", ["station", "store"])
    quarantined = _gauge(
        "station_quarantined", "1 while two machines used one identity.", ["station", "store"]
    )
    alarms = _gauge("station_alarms", "Alarms in the station's last report.", ["station", "store"])
    for station in facts.stations:
        if station.state != "active":
            continue
        labels = [station.code, station.store]
        if station.backlog is not None:
            backlog.add_metric(labels, station.backlog)
        if station.last_seen_ms is not None:
            seen.add_metric(labels, max(0, facts.now_ms - station.last_seen_ms) // 1_000)
        quarantined.add_metric(labels, int(station.quarantined))
        alarms.add_metric(labels, len(station.alarms))
    yield from (backlog, seen, quarantined, alarms)


def _integrations(facts: Facts) -> Iterable[Metric]:
    enabled = _gauge("integration_enabled", "1 while an integration is on.", ["integration"])
    paused = _gauge(
        "integration_paused", "1 while deliveries wait for the other system or a person.", ["integration"]
    )
    ready = _gauge("deliveries_open", "Deliveries that are not done.", ["integration", "state"])
    for integration in facts.integrations:
        enabled.add_metric([integration.name], int(integration.enabled))
        paused.add_metric([integration.name], int(integration.problem is not None))
        ready.add_metric([integration.name, "ready"], integration.ready)
        ready.add_metric([integration.name, "gathering"], integration.gathering)
        for state, count in integration.unfinished.items():
            ready.add_metric([integration.name, f"batch_{state}"], count)
    yield from (enabled, paused, ready)


def _scopes(facts: Facts) -> Iterable[Metric]:
    heads = _gauge("scope_head", "Newest seq of a scope of the catalog.", ["scope"])
    live = _gauge("scope_rows", "Live rows of a scope of the catalog.", ["scope"])
    for scope, head, count in facts.scopes:
        heads.add_metric([scope], head)
        live.add_metric([scope], count)
    yield from (heads, live)
