"""The `fanfare` command: the human's door to all of it."""
