"""Figures of the running system, each beside the raw limit taken in the same run."""
