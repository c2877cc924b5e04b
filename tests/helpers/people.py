"""Users with sessions, on a system that requires access tokens."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from fanfare.auth.v1 import auth_pb2 as a
from fanfare.auth.v1.auth_pb2_grpc import AuthServiceStub
from fanfare.common.v1.common_pb2 import User
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.leaks import SECRET


@dataclass(frozen=True)
class Person:
    """A user with a session."""

    user: User
    password: str
    session: a.Session

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata that authenticates a call of this person."""
        return (("authorization", f"Bearer {self.session.access_token}"),)


class People:
    """Creates users and sessions, and remembers every secret that was used."""

    def __init__(self, fanfare: Fanfare, auth: AuthServiceStub) -> None:
        self.fanfare = fanfare
        self.auth = auth
        self.secrets = {SECRET}

    def sign_in(self, username: str, password: str) -> a.Session:
        """Create a session."""
        request = a.CreateSessionRequest(username=username, password=password)
        return self.noted(self.auth.CreateSession(request).session)

    def refresh(self, token: str) -> a.Session:
        """Refresh a session."""
        request = a.RefreshSessionRequest(refresh_token=token)
        return self.noted(self.auth.RefreshSession(request).session)

    def noted(self, session: a.Session) -> a.Session:
        """Remember the secrets of a session, and return the session."""
        self.secrets |= {session.access_token, session.refresh_token}
        return session

    def person(self) -> Person:
        """Return a new user with a session."""
        name, password = f"user_{uuid.uuid4().hex[:12]}", f"{SECRET}{uuid.uuid4().hex}"
        request = w.CreateUserRequest(username=name, email=f"{name}@example.com", password=password)
        user = self.fanfare.write.CreateUser(request).user
        return Person(user, password, self.sign_in(name, password))
