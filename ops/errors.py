"""The one exception by which an operator's command fails."""

from __future__ import annotations


class OpsError(Exception):
    """A command could not do its work.

    The message is shown to the operator as it is: what is wrong, then what to do.
    """
