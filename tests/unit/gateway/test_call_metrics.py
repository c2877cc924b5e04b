"""The labels of the metrics of REST calls."""

from __future__ import annotations

from itertools import chain

from fanfare.auth.v1 import auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2

from core.errors import BodyTooLargeError, MethodNotFoundError, UnsupportedMediaTypeError
from gateway.call_metrics import CLIENT_GONE, of_requests_without_route
from gateway.failures import HTTP_STATUSES, error_answer
from gateway.routes import routes


def test_every_status_of_an_answer_can_be_counted() -> None:
    """Those of all routes and of all errors; the rest of the calls has ended without an answer."""
    files = (write_pb2, read_pb2, auth_pb2)
    services = [each for file in files for each in file.DESCRIPTOR.services_by_name.values()]
    successes = {int(route.success) for route in chain.from_iterable(map(routes, services))}
    special = MethodNotFoundError("x"), BodyTooLargeError(1), UnsupportedMediaTypeError("x")
    failures = {*HTTP_STATUSES.values(), *(error_answer(error).status for error in special)}
    assert successes | failures | {CLIENT_GONE} <= of_requests_without_route().handled.keys()
