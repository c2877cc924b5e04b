"""The one exception that an operator's command raises when it fails."""

from __future__ import annotations


class OpsError(Exception):
    """A command could not do its work.

    The message is shown to the operator as it is: what is wrong, then what to do.
    """
