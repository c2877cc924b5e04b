"""Fakes of the servers, in memory, that behave as the real ones do in the contract suites."""
