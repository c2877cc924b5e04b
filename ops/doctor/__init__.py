"""The checks of `fanfare doctor`: what is wrong with an installation, and what to change."""
