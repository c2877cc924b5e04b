"""Checks that a service uses the database whose address the command has.

A command that reaches Postgres and a service of two different instances would change half of each.
"""

from __future__ import annotations

import grpc
from fanfare.read.v1.read_pb2 import ListUsersRequest
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1.write_pb2 import BatchCreateTweetsRequest
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub

from core.feed.consistency_tokens import decode_token, encode_token
from core.feed.history import Lsn, Moment
from core.settings import Settings
from ops.channel import service_channel
from ops.database import SQL, connect
from ops.errors import OpsError
from ops.load_posts import create_batch

CALL_SECONDS = 30.0


def check_write_service(settings: Settings) -> None:
    """Compare the write service's database with that of the settings.

    An empty batch changes nothing, and its consistency token names the history of the database.

    Raises:
        OpsError: they are different, or the write service refuses the call.
    """
    target = settings.write_service_target()
    with service_channel(settings, target) as channel:
        answer = create_batch(WriteServiceStub(channel), BatchCreateTweetsRequest())
    moment = decode_token(answer.consistency_token)
    # Read afterwards, because the call begins a history where none is valid.
    if moment is None or moment.history != _valid_history(settings):
        raise _other_database("write", target)


def check_read_service(settings: Settings) -> None:
    """Compare the read service's database with that of the settings.

    Raises:
        OpsError: they are different.
        grpc.RpcError: the read service does not answer.
    """
    history = _valid_history(settings)
    if history is None:
        return  # nothing has been written since Postgres started
    target = settings.read_service_target()
    token = encode_token(Moment(history, Lsn(0)))
    with service_channel(settings, target) as channel:
        try:
            ReadServiceStub(channel).ListUsers(
                ListUsersRequest(limit=1, consistency_token=token), timeout=CALL_SECONDS
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
                raise _other_database("read", target) from error
            raise


def _valid_history(settings: Settings) -> str | None:
    with connect(settings.session_dsn()) as connection:
        row = connection.execute(SQL["valid_history"]).fetchone()
    return row[0] if row is not None else None


def _other_database(kind: str, target: str) -> OpsError:
    return OpsError(
        f"the {kind} service at {target} uses another database than FANFARE_POSTGRES_DSN, so this "
        f"command would use parts of two instances; set FANFARE_{kind.upper()}_TARGET and "
        "FANFARE_POSTGRES_DSN to addresses of one, or FANFARE_STATE_DIR to the state folder of one"
    )
