"""The metrics of calls over HTTP, named like those of gRPC calls.

A route is labelled by its verb and its template, such as GET and /timeline/{user_id}. A HEAD counts
as a GET. Calls over Connect and gRPC-Web have the path of their method. Requests for which there is
no route have "other" as both.
"""

from __future__ import annotations

from http import HTTPStatus

from core.runtime.call_metrics import CallMetrics, ServerMetrics
from gateway.failures import FAILURE_STATUSES
from gateway.routes import Route

CLIENT_GONE = 499
_SUCCESSES = {
    HTTPStatus.OK,
    HTTPStatus.CREATED,
    HTTPStatus.NO_CONTENT,
    HTTPStatus.NOT_MODIFIED,
}
_STATUSES = sorted({*map(int, _SUCCESSES), *FAILURE_STATUSES})
_OTHER = "other"

HTTP_METRICS = ServerMetrics(
    "http_server",
    ("http_method", "http_route"),
    "http_status",
    {status: str(status) for status in _STATUSES},
)


def metrics_of(route: Route) -> CallMetrics:
    """Return the metrics of a route."""
    is_stream = route.method.server_streaming
    return HTTP_METRICS.of(route.verb, route.path, is_stream=is_stream)


def of_requests_without_route() -> CallMetrics:
    """Return the metrics of the requests for which there is no route."""
    return HTTP_METRICS.of(_OTHER, _OTHER)
