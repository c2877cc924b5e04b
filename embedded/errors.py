"""What the embedded stack tells its user."""


class StackError(Exception):
    """A server cannot be started; the text is one sentence with the cause and the cure."""
