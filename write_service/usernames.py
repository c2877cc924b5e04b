"""Usernames that nobody can have."""

from __future__ import annotations

from core.errors import UsernameTakenError

# How many of the names that a user gave up last are kept for them.
MAX_KEPT = 10

_OPERATOR = """
    admin administrator root superuser sysadmin system operator owner staff team official moderator
    mod support help helpdesk security abuse contact info legal privacy press billing postmaster
    hostmaster webmaster noreply mail fanfare
"""
_PARTS_OF_THE_SERVICE = """
    api www web app apps status health docs about terms tos policy blog jobs ads login logout signin
    signout signup register account accounts session sessions auth oauth settings password home
    timeline timelines explore search notifications messages user users tweet tweets follower
    followers following
"""
_NOBODY = """
    me you everyone everybody all here anonymous nobody unknown guest deleted null none undefined
    true false
"""
# Under these names a user could pass for the operator or their staff, or for a part of the service,
# whose name clients are likely to use in URLs beside those of users. Or they stand for nobody.
RESERVED = frozenset(f"{_OPERATOR} {_PARTS_OF_THE_SERVICE} {_NOBODY}".split())


def refuse_reserved(username: str) -> None:
    """Check that users may have a name; case and underscores make no difference.

    Raises:
        UsernameTakenError: the name is reserved.
    """
    if username.lower().replace("_", "") in RESERVED:
        raise UsernameTakenError
