"""The one exception of the embedded stack."""


class StackError(Exception):
    """A server cannot be started or kept running.

    The message is shown to the user as it is: what is wrong, then what to do.
    """
