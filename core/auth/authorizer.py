"""The authorizer: enforces the contract's access rules before a method runs.

Each RPC in the protos has an option `fanfare.auth.v1.access`, its access rule. The authorizer finds
out who calls: a user or a service by an access token, or a service by its TLS certificate. It
counts the call against the rule's rate limits before the request is parsed, so that calls with
unusable requests or tokens are counted as well. When the request has been parsed and validated, the
authorizer counts what the call costs beyond one, and raises an error if the rule forbids the call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fanfare.auth.v1 import access_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from core.auth.access_tokens import Caller, Verifier
from core.auth.addresses import FORWARDED_KEY, ClientAddresses
from core.auth.call_context import UNKNOWN_CALLER, Context, Metadata
from core.auth.metrics import RATE_LIMITED, Limit
from core.auth.rate_limits import RateLimiter
from core.auth.security_log import Event, SecurityLog
from core.errors import (
    FanfareError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
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
        _id_path(method, getattr(rule, kind))
    if bool(rule.items_field) != (rule.items_per_call > 0):
        raise ValueError(f"{method.full_name} needs both items_field and items_per_call, or none")
    for name in (*filter(None, [rule.items_field]), *rule.address_fields):
        if name not in method.input_type.fields_by_name:
            raise ValueError(f"{method.full_name} has no field {name}, which its access rule names")
    return rule


def _id_path(method: MethodDescriptor, path: str) -> list[FieldDescriptor]:
    """Return the fields along a path that ends in an id."""
    fields = _path(method, path)
    if fields[-1].type != FieldDescriptor.TYPE_INT64:
        raise ValueError(f"{path} of {method.full_name} is not an id")
    return fields


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
    return fields


@dataclass(slots=True)  # frozen would take thrice as long to make, on every call
class CountedCall:
    """A call that was counted, and whose request may now be parsed."""

    context: Context
    """The call. Its caller is known."""
    counted_by: str
    """The user id or the address that it was counted by; empty for a service's call."""
    address: str
    """The address, or IPv6 network, that the calls of all its users are counted by together."""


class Authorizer:
    """Enforces access rules. A process has one if authentication is on, and none if it is off."""

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        verifier: Verifier,
        limits: RateLimiter,
        addresses: ClientAddresses,
        log: SecurityLog,
        services: Collection[str] = (),
        accounts: Accounts | None = None,
    ) -> None:
        """Take the collaborators.

        Args:
            verifier: verifies access tokens.
            limits: counts calls.
            addresses: tells where calls come from.
            log: gets the calls that are refused, and those that only administrators may make.
            services: the common names of certificates whose holders act as services. A call with
                a token, or with X-Forwarded-For, never counts as such a service's own call.
            accounts: needed if the rule of a method names a tweet or administrators.
        """
        self._verifier = verifier
        self.limits = limits
        self.log = log
        self.addresses = addresses
        self._services = frozenset(services)
        self._accounts = accounts

    def of(self, method: MethodDescriptor) -> MethodAuthorizer:
        """Return what enforces the access rule of a method.

        Raises:
            ValueError: the method has no usable access rule, which is a mistake in the contract.
        """
        rule = rule_of(method)
        return MethodAuthorizer(self, method, rule, *self._lookups(method, rule))

    def identify(self, context: Context) -> Caller | None:
        """Return who calls; None if the call has neither a valid access token nor a certificate."""
        try:
            return self._verifier.caller(_token(context.metadata))
        except _NoTokenError:
            service = self._service(context)
            return Caller(service=service) if service else None
        except UnauthenticatedError:
            return None

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

    def _service(self, context: Context) -> str | None:
        # A client must not act as a service just because a proxy with such a certificate forwards
        # its call.
        if not self._services or any(key == FORWARDED_KEY for key, _ in context.metadata):
            return None
        return min(self._services.intersection(context.certificate_names), default=None)


class MethodAuthorizer:
    """Enforces the access rule of one method."""

    def __init__(
        self,
        authorizer: Authorizer,
        method: MethodDescriptor,
        rule: access_pb2.AccessRule,
        author_of: AuthorOf | None,
        is_admin: IsAdmin | None,
    ) -> None:
        """Prepare to enforce a rule.

        Args:
            authorizer: identifies callers.
            method: the method.
            rule: its rule.
            author_of: looks up the author of a tweet, if the rule names one.
            is_admin: looks up administrators, if the rule names them.
        """
        kind = str(rule.WhichOneof("users"))
        self._authorizer = authorizer
        self._addresses = authorizer.addresses
        self._limits = authorizer.limits
        self._log = authorizer.log
        self._name = method.name
        self._kind = kind
        self._is_public = kind == "public"
        self._is_for_services = rule.services
        self._fields = _id_path(method, getattr(rule, kind)) if kind.endswith("_field") else []
        self._author_of = author_of
        self._is_admin = is_admin
        # Reading an attribute of a message costs more than reading one of this object.
        self._per_minute = rule.calls_per_minute
        self._is_by_address = rule.by_address
        self._items_field = rule.items_field
        self._items_per_call = rule.items_per_call
        self._address_per_minute = rule.address_calls_per_minute
        self._address_fields = tuple(rule.address_fields)

    async def count(self, context: Context) -> CountedCall:
        """Find out who calls and count the call, before its request is parsed.

        From here on, CALLER tells the current task whose call it is.

        Raises:
            RateLimitedError: the caller has reached the limit.
            UnauthenticatedError: the caller is unknown, and the method is not public.
        """
        known = self._authorizer.identify(context)
        caller = context.caller = known or UNKNOWN_CALLER
        address = self._addresses.network(context)
        CALLER.set((address, str(caller.user_id or caller.service or address)))
        counted_by = ""
        if not caller.service:
            by_user = caller.user_id is not None and not self._is_by_address
            counted_by = str(caller.user_id) if by_user else address
            if self._per_minute:
                limit = Limit.USER if by_user else Limit.ADDRESS
                await self._take(limit, context, self._name, counted_by, self._per_minute)
        if known is None and not self._is_public:
            raise UnauthenticatedError
        return CountedCall(context, counted_by, address)

    async def authorize(self, request: Message, call: CountedCall) -> None:
        """Return if the caller may make the call.

        Args:
            request: the request, which was found valid.
            call: what count() returned.

        Raises:
            RateLimitedError: the call counts as several, and as more than the caller has left; or
                the users of the address have reached their common limit.
            PermissionDeniedError: the rule does not name the caller.
        """
        context = call.context
        caller = context.caller
        if call.counted_by and (self._items_field or self._address_per_minute):
            await self._count_cost(request, call)
        if self._is_public or (caller.service and self._is_for_services):
            return
        if caller.user_id is None:
            raise self._denied(context)
        # The token, which may be ten minutes old, is not enough: an administrator's deletions
        # cannot be undone.
        if self._is_admin and caller.admin and await self._is_admin(caller.user_id):
            name = self._fields[-1].name
            target = ", ".join(f"{name}={id_}" for id_ in _values(request, self._fields))
            event = Event.ADMINISTRATOR_ACTED
            self._log.record(event, context, self._name, caller.user_id, target=target)
            return
        if self._kind == "nobody":
            raise self._denied(context)
        for id_ in _values(request, self._fields):
            owner = await self._author_of(id_) if self._author_of else id_
            if owner is not None and owner != caller.user_id:
                raise self._denied(context)

    def check_caller(self, context: Context) -> None:
        """Return if the caller of a call that goes on is still known, after count() found out.

        Raises:
            UnauthenticatedError: the access token has expired, or was ended.
        """
        if (self._authorizer.identify(context) or UNKNOWN_CALLER) != context.caller:
            raise UnauthenticatedError

    async def _count_cost(self, request: Message, call: CountedCall) -> None:
        cost = self._cost(request)
        if cost > 1:
            per_minute = self._per_minute
            await self._take(
                Limit.COST, call.context, self._name, call.counted_by, per_minute, cost - 1
            )
        is_user = call.context.caller.user_id is not None
        if is_user and self._address_per_minute and self._counts_by_address(request):
            # The name differs from that of the calls of clients whose user is not known.
            name = f"{self._name}:users"
            await self._take(
                Limit.ADDRESS, call.context, name, call.address, self._address_per_minute, cost
            )

    async def _take(  # noqa: PLR0913, PLR0917 - what is counted, by whom, and against what
        self,
        limit: Limit,
        context: Context,
        name: str,
        counted_by: str,
        per_minute: int,
        cost: int = 1,
    ) -> None:
        try:
            await self._limits.take(name, counted_by, per_minute, cost)
        except RateLimitedError as error:
            RATE_LIMITED.labels(limit).inc()
            self._note_refusal(error, context)
            raise

    def _denied(self, context: Context) -> PermissionDeniedError:
        """Return the error of a call that the access rule forbids, which is logged."""
        error = PermissionDeniedError()
        self._note_refusal(error, context)
        return error

    def _note_refusal(self, error: FanfareError, context: Context) -> None:
        reason = error.reason_name
        self._log.refuse(Event.CALL_REFUSED, context, self._name, reason, context.caller.user_id)

    def _cost(self, request: Message) -> int:
        """Return how many calls the request counts as."""
        if not self._items_field:
            return 1
        value = getattr(request, self._items_field)
        items = value if isinstance(value, int) else len(value)
        return max(1, -(-items // self._items_per_call))

    def _counts_by_address(self, request: Message) -> bool:
        return not self._address_fields or any(map(request.HasField, self._address_fields))


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
