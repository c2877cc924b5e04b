"""Who may call what: the contract's access rules, enforced before a method runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from fanfare.auth.v1 import access_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from core.errors import PermissionDeniedError, UnauthenticatedError
from core.tokens import Caller, Verifier

Metadata = Iterable[tuple[str, str | bytes]]
Check = Callable[[Message, Metadata], Awaitable[None]]
# Returns the author of a tweet, None where there is no such tweet.
AuthorOf = Callable[[int], Awaitable[int | None]]

METADATA_KEY = "authorization"
_SCHEME = "bearer "


def rule_of(method: MethodDescriptor) -> access_pb2.AccessRule:
    """Return the method's rule. Raises ValueError for a method that has none, or a broken one."""
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


class Gate:
    """Enforces the rules: one for each process, and none where authentication is off."""

    def __init__(self, verifier: Verifier, author_of: AuthorOf | None = None) -> None:
        """Check tokens by the verifier; author_of is for methods whose rule names a tweet."""
        self._verifier = verifier
        self._author_of = author_of

    def check(self, method: MethodDescriptor) -> Check:
        """Return a coroutine function of request and metadata that lets the call pass, or raises.

        It raises UnauthenticatedError and PermissionDeniedError. A method without a usable rule is
        a mistake in the contract: ValueError, when the server is built.
        """
        rule = rule_of(method)
        kind = rule.WhichOneof("users")
        if kind == "public":
            return _let_pass
        fields = [] if kind == "nobody" else _path(method, getattr(rule, str(kind)))
        author_of = self._author_of
        if kind == "tweet_field" and author_of is None:
            raise ValueError(f"{method.full_name} is about a tweet, and nobody here knows authors")

        async def check(request: Message, metadata: Metadata) -> None:
            caller = self._caller(metadata)
            if (caller.service and rule.services) or (caller.admin and rule.admins):
                return
            if caller.user_id is None or kind == "nobody":
                raise PermissionDeniedError
            for id_ in _values(request, fields):
                owner = await author_of(id_) if kind == "tweet_field" and author_of else id_
                if owner is not None and owner != caller.user_id:
                    raise PermissionDeniedError

        return check

    def _caller(self, metadata: Metadata) -> Caller:
        given = [value for key, value in metadata if key == METADATA_KEY]
        # Two could be read as either by those on the way.
        if len(given) != 1 or not isinstance(given[0], str):
            raise UnauthenticatedError
        if given[0][: len(_SCHEME)].lower() != _SCHEME:
            raise UnauthenticatedError
        return self._verifier.caller(given[0][len(_SCHEME) :].strip())


async def _let_pass(_request: Message, _metadata: Metadata) -> None:
    """Let everybody pass."""


def _values(message: Message, fields: Sequence[FieldDescriptor]) -> Iterator[int]:
    """Yield every id that the path leads to."""
    first, *left = fields
    value = getattr(message, first.name)
    for one in value if first.is_repeated else (value,):
        if left:
            yield from _values(one, left)
        else:
            yield one
