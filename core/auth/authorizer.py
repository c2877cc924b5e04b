"""The authorizer: enforces the contract's access rules before a method runs.

Each RPC in the protos has an option `fanfare.auth.v1.access`, its access rule. The authorizer finds
out who calls: a user or a service by an access token, or a service by its TLS certificate. It then
counts the call against the rule's rate limit, and raises an error if the rule forbids the call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Protocol

from fanfare.auth.v1 import access_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from core.auth.access_tokens import Caller, Verifier
from core.auth.addresses import FORWARDED_KEY, Network, address_of, owner_of
from core.auth.call_context import UNKNOWN_CALLER, Context, Metadata
from core.auth.rate_limits import RateLimiter
from core.auth.security_log import Event, SecurityLog
from core.errors import (
    FanfareError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
    reason_name,
)
from core.runtime.callers import CALLER

AuthorOf = Callable[[int], Awaitable[int | None]]
IsAdmin = Callable[[int], Awaitable[bool]]


class Accounts(Protocol):
    """Looks up in the Postgres primary what access rules depend on."""

    async def tweet_author(self, tweet_id: int) -> int | None:
        """Return the user id of a tweet's author; None if there is no such tweet."""

    async def is_admin(self, user_id: int) -> bool:
        """Return whether the user is an administrator now."""


Check = Callable[[Message, Context], Awaitable[None]]

METADATA_KEY = "authorization"
# A name in the health service, which reports it as SERVING if authentication is on.
AUTHENTICATION = "fanfare.auth.v1.access"
_SCHEME = "bearer "


class _NoTokenError(Exception):
    """The call has no access token at all."""


def rule_of(method: MethodDescriptor) -> access_pb2.AccessRule:
    """Return the access rule of a method.

    Raises:
        ValueError: the method has no access rule, or an unusable one.
    """
    options = method.GetOptions()
    if not options.HasExtension(access_pb2.access):
        raise ValueError(f"{method.full_name} has no fanfare.auth.v1.access option: add one")
    rule = options.Extensions[access_pb2.access]
    kind = rule.WhichOneof("users")
    if kind is None or (kind in {"public", "nobody"} and not getattr(rule, kind)):
        raise ValueError(f"{method.full_name} does not say which users may call it")
    if kind in {"user_field", "tweet_field"}:
        _path(method, getattr(rule, kind))
    return rule


def _path(method: MethodDescriptor, path: str) -> list[FieldDescriptor]:
    """Return the fields along a dotted path of names that starts at the request message."""
    fields = []
    message: Descriptor | None = method.input_type
    for name in path.split("."):
        field = message.fields_by_name.get(name) if message is not None else None
        if field is None:
            raise ValueError(f"{method.full_name} has no field {path}, which its access rule names")
        fields.append(field)
        message = field.message_type
    if fields[-1].type != FieldDescriptor.TYPE_INT64:
        raise ValueError(f"{path} of {method.full_name} is not an id")
    return fields


class Authorizer:
    """Enforces access rules. A process has one if authentication is on, and none if it is off."""

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        verifier: Verifier,
        limits: RateLimiter,
        trusted: Sequence[Network],
        log: SecurityLog,
        services: Collection[str] = (),
        accounts: Accounts | None = None,
    ) -> None:
        """Take the collaborators.

        Args:
            verifier: verifies access tokens.
            limits: counts calls.
            trusted: the proxies whose X-Forwarded-For is believed.
            log: gets the calls that are refused, and those that only administrators may make.
            services: the common names of certificates whose holders act as services. A call with
                a token, or with X-Forwarded-For, never counts as such a service's own call.
            accounts: needed if the rule of a method names a tweet or administrators.
        """
        self._verifier = verifier
        self._limits = limits
        self._trusted = tuple(trusted)
        self._log = log
        self._services = frozenset(services)
        self._accounts = accounts

    def check(self, method: MethodDescriptor) -> Check:
        """Return a coroutine function that checks one call of the method.

        It returns if the caller may make the call. Otherwise it raises UnauthenticatedError,
        PermissionDeniedError or RateLimitedError.

        Raises:
            ValueError: the method has no usable access rule, which is a mistake in the contract.
        """
        rule = rule_of(method)
        kind = str(rule.WhichOneof("users"))
        fields = _path(method, getattr(rule, kind)) if kind.endswith("_field") else []
        author_of, is_admin = self._lookups(method, rule)
        is_public, services = kind == "public", rule.services
        per_minute, by_address = rule.calls_per_minute, rule.by_address

        async def check(request: Message, context: Context) -> None:
            caller = context.caller = self._caller(context, optional=is_public)
            CALLER.set(str(caller.user_id or caller.service or self._address(context)))
            if per_minute and not caller.service:
                user_id = None if by_address else caller.user_id
                counted_by = str(user_id or self._address(context))
                try:
                    await self._limits.take(method.name, counted_by, per_minute)
                except RateLimitedError as error:
                    self._note_refusal(error, context, method)
                    raise
            if is_public or (caller.service and services):
                return
            if caller.user_id is None:
                raise self._denied(context, method)
            # The token, which may be ten minutes old, is not enough: an administrator's deletions
            # cannot be undone.
            if is_admin and caller.admin and await is_admin(caller.user_id):
                target = ", ".join(f"{fields[-1].name}={id_}" for id_ in _values(request, fields))
                event = Event.ADMINISTRATOR_ACTED
                self._log.record(event, context, method.name, caller.user_id, target=target)
                return
            if kind == "nobody":
                raise self._denied(context, method)
            for id_ in _values(request, fields):
                owner = await author_of(id_) if author_of else id_
                if owner is not None and owner != caller.user_id:
                    raise self._denied(context, method)

        return check

    def _lookups(
        self, method: MethodDescriptor, rule: access_pb2.AccessRule
    ) -> tuple[AuthorOf | None, IsAdmin | None]:
        """Return the two look-ups in Postgres; None in place of one that the rule does not need."""
        if not (rule.tweet_field or rule.admins):
            return None, None
        if self._accounts is None:
            raise ValueError(f"{method.full_name} has a rule that needs the Postgres primary")
        return (
            self._accounts.tweet_author if rule.tweet_field else None,
            self._accounts.is_admin if rule.admins else None,
        )

    def _caller(self, context: Context, *, optional: bool) -> Caller:
        """Return who calls.

        If authentication fails, this is an unknown caller where authentication is optional.
        Otherwise the method raises UnauthenticatedError.
        """
        try:
            return self._verifier.caller(_token(context.metadata))
        except _NoTokenError:
            if service := self._service(context):
                return Caller(service=service)
            if optional:
                return UNKNOWN_CALLER
            raise UnauthenticatedError from None
        except UnauthenticatedError:
            if optional:
                return UNKNOWN_CALLER
            raise

    def _denied(self, context: Context, method: MethodDescriptor) -> PermissionDeniedError:
        """Return the error of a call that its access rule forbids, which is logged."""
        error = PermissionDeniedError()
        self._note_refusal(error, context, method)
        return error

    def _note_refusal(
        self, error: FanfareError, context: Context, method: MethodDescriptor
    ) -> None:
        reason = reason_name(error)
        self._log.refuse(Event.CALL_REFUSED, context, method.name, reason, context.caller.user_id)

    def _service(self, context: Context) -> str | None:
        # A client must not act as a service just because a proxy with such a certificate forwards
        # its call.
        if not self._services or any(key == FORWARDED_KEY for key, _ in context.metadata):
            return None
        return min(self._services.intersection(context.certificate_names), default=None)

    def _address(self, context: Context) -> str:
        return owner_of(address_of(context, self._trusted))


def _token(metadata: Metadata) -> str:
    """Return the access token of a call.

    Raises:
        _NoTokenError: the call has no token.
        UnauthenticatedError: the call has anything other than one bearer token.
    """
    given = [value for key, value in metadata if key == METADATA_KEY]
    if not given:
        raise _NoTokenError
    # If there are two headers, a proxy may have checked a different one from the one used here.
    if len(given) != 1 or not isinstance(given[0], str):
        raise UnauthenticatedError
    if given[0][: len(_SCHEME)].lower() != _SCHEME:
        raise UnauthenticatedError
    return given[0][len(_SCHEME) :].strip()


def _values(message: Message, fields: Sequence[FieldDescriptor]) -> Iterator[int]:
    """Yield every id at the end of a path of fields, some of which may be repeated."""
    first, *rest = fields
    value = getattr(message, first.name)
    for item in value if first.is_repeated else (value,):
        if rest:
            yield from _values(item, rest)
        else:
            yield item
