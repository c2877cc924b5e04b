"""Checks requests against the protovalidate rules of the contract."""

from __future__ import annotations

import protovalidate
from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from core.errors import InvalidRequestError

# For a larger request only the first violation is reported: finding a million would take minutes.
DETAILED_BYTES = 2048
# More violations than this would not fit into gRPC's trailing metadata.
MAX_VIOLATIONS = 20
# How many forms of valid requests are remembered for each method, and how long they may be.
MAX_FORMS = 1000
MAX_FORM_BYTES = 64
_NUMBERS = {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_BOOL}


def violations(message: Message, *, only_first: bool = False) -> list[tuple[str, str]]:
    """Return the violations of rules, as pairs of the field's path and what the field must be.

    Args:
        message: the request to check.
        only_first: whether to stop at the first violation instead of at MAX_VIOLATIONS.
    """
    found = []
    broken = protovalidate.collect_violations(message, fail_fast=only_first)
    for violation in broken[:MAX_VIOLATIONS]:
        elements = violation.proto.field.elements if violation.proto.field else []
        path = ".".join(
            f"{e.field_name}[{e.subscript.value}]" if e.subscript else e.field_name
            for e in elements
        )
        found.append((path, violation.proto.message or violation.proto.rule_id))
    return found


class RequestValidator:
    """Checks the requests of one type, and those that it has seen in another form only once.

    protovalidate takes 20 µs for a small request, which is more than all else that is done around a
    method. But most requests differ from earlier ones only by ids, and one id is as valid as
    another. So requests are compared in a form in which each valid id is 1; if the form was found
    valid before, the request is valid. No request with a text is remembered, since the text may be
    a password.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        """Prepare for requests of this type."""
        self._ids = interchangeable_ids(descriptor)
        self._not_numbers = [each.name for each in descriptor.fields if each.type not in _NUMBERS]
        self._valid_forms: set[bytes] = set()

    def validate(self, request: Message, size: int) -> None:
        """Check a request.

        Args:
            request: the request.
            size: how many bytes its serialised form has.

        Raises:
            InvalidRequestError: the request breaks at least one rule.
        """
        is_remembered = size <= MAX_FORM_BYTES and not self._has_more_than_numbers(request)
        form = self._form(request) if is_remembered else None
        if form in self._valid_forms:
            return
        if found := violations(request, only_first=size > DETAILED_BYTES):
            raise InvalidRequestError(found)
        if form is not None:
            if len(self._valid_forms) >= MAX_FORMS:
                self._valid_forms.clear()
            self._valid_forms.add(form)

    def _has_more_than_numbers(self, request: Message) -> bool:
        # A message counts as true even if it is empty.
        return any(getattr(request, name) for name in self._not_numbers)

    def _form(self, request: Message) -> bytes:
        """Return the serialised request with 1 in place of each valid id."""
        ids = [(name, value) for name in self._ids if (value := getattr(request, name)) > 0]
        for name, _ in ids:
            setattr(request, name, 1)
        form = request.SerializeToString()
        for name, value in ids:
            setattr(request, name, value)
        return form


def interchangeable_ids(descriptor: Descriptor) -> list[str]:
    """Return the fields of which every value above 0 is as valid as any other.

    Their only rule is that they are above 0, and no rule of the whole message names them.
    """
    above_0 = validate_pb2.FieldRules(int64=validate_pb2.Int64Rules(gt=0))
    whole = str(descriptor.GetOptions().Extensions[validate_pb2.message])
    return [
        field.name
        for field in descriptor.fields
        if field.type == FieldDescriptor.TYPE_INT64
        and not field.is_repeated
        and field.GetOptions().Extensions[validate_pb2.field] == above_0
        and field.name not in whole
    ]
