"""The servicer of AuthService: sessions and public keys."""

from __future__ import annotations

from dataclasses import replace

from fanfare.auth.v1 import auth_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from core.auth.access_tokens import ALGORITHM, Caller, PublicKeys, Signer, public_bytes
from core.auth.call_context import Context
from core.auth.ended_tokens import EndedTokens
from core.auth.security_log import Event, SecurityLog
from core.errors import (
    AuthenticationOffError,
    InvalidCredentialsError,
    InvalidRefreshTokenError,
)
from core.rpc.messages import timestamp
from write_service.metrics import SESSIONS_CREATED, SIGN_IN_FAILURES
from write_service.passwords import Passwords
from write_service.refresh_tokens import RefreshToken
from write_service.session_store import Session, SessionStore


class AuthService:
    """Creates, refreshes and revokes sessions."""

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        store: SessionStore,
        passwords: Passwords,
        signer: Signer,
        keys: PublicKeys,
        ended: EndedTokens,
        log: SecurityLog,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._signer = signer
        self._keys = keys
        self._ended = ended
        self._log = log

    async def CreateSession(  # noqa: N802 - the contract's name, as for all below
        self, request: pb.CreateSessionRequest, context: Context
    ) -> pb.CreateSessionResponse:
        """Create a session for a username and a password."""
        self._signer.kid()  # fails before anything is done if there is no key
        account = await self._store.find_account(request.username)
        password_hash = account.password_hash if account else None
        # Takes equally long without a hash, so that the time does not reveal who has an account.
        is_right, renewed = await self._passwords.verify(password_hash, request.password)
        if account is None or password_hash is None or not is_right:
            error = InvalidCredentialsError()
            SIGN_IN_FAILURES.inc()
            user_id = account.user_id if account else None
            self._log.refuse(
                Event.SIGN_IN_FAILED, context, "CreateSession", error.reason_name, user_id
            )
            raise error
        if renewed is not None:
            if not await self._store.replace_hash(account.user_id, password_hash, renewed):
                # Another sign-in replaced the hash, or the password was changed.
                return await self.CreateSession(request, context)
            account = replace(account, password_hash=renewed)
        session = await self._store.create(account)
        SESSIONS_CREATED.inc()
        self._log.record(
            Event.SIGN_IN,
            context,
            "CreateSession",
            session.user_id,
            session=session.token.session_name,
        )
        return pb.CreateSessionResponse(session=self._message(session))

    async def RefreshSession(  # noqa: N802
        self, request: pb.RefreshSessionRequest, context: Context
    ) -> pb.RefreshSessionResponse:
        """Exchange a refresh token for new tokens."""
        self._signer.kid()  # fails before the token is used up if there is no key
        token = RefreshToken.decode(request.refresh_token)
        try:
            session = await self._store.refresh(token)
        except InvalidRefreshTokenError as error:
            await self._ended.refresh()
            self._log.refuse(
                Event.REFRESH_FAILED,
                context,
                "RefreshSession",
                error.reason_name,
                None,
                session=token.session_name,
            )
            raise
        return pb.RefreshSessionResponse(session=self._message(session))

    async def RevokeSession(  # noqa: N802
        self, request: pb.RevokeSessionRequest, context: Context
    ) -> pb.RevokeSessionResponse:
        """End a session."""
        token = RefreshToken.decode(request.refresh_token)
        user_id = await self._store.revoke(token)
        if user_id is not None:
            await self._ended.refresh()
            self._log.record(
                Event.SESSION_REVOKED,
                context,
                "RevokeSession",
                user_id,
                session=token.session_name,
            )
        return pb.RevokeSessionResponse()

    async def GetPublicKeys(  # noqa: N802
        self, _request: pb.GetPublicKeysRequest, _context: Context
    ) -> pb.GetPublicKeysResponse:
        """Return the keys that verify access tokens."""
        return pb.GetPublicKeysResponse(
            keys=[
                pb.PublicKey(
                    kty="OKP", crv="Ed25519", x=public_bytes(key), kid=kid, use="sig", alg=ALGORITHM
                )
                for kid, key in sorted(self._keys.all().items())
            ]
        )

    def _message(self, session: Session) -> pb.Session:
        access_token, expires = self._signer.sign(
            Caller(
                session.user_id,
                admin=session.admin,
                epoch=session.token_epoch,
                session=session.token.session_name,
                signed_in_at=int(session.signed_in_at.timestamp()),
            )
        )
        return pb.Session(
            user_id=session.user_id,
            access_token=access_token,
            access_expires_at=Timestamp(seconds=expires),
            refresh_token=session.token.encode(),
            refresh_expires_at=timestamp(session.expires_at),
        )


class NoAuthService:
    """The servicer of AuthService while authentication is off; every method refuses."""

    def __getattr__(self, _name: str) -> object:
        """Return a method that raises AuthenticationOffError."""
        return self._refuse

    async def _refuse(self, _request: object, _context: Context) -> bytes:
        raise AuthenticationOffError
