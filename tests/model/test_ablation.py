"""Each rule of the protocol is needed: without it, a run breaks a promise."""

from __future__ import annotations

from dataclasses import fields

import pytest
from model.history import play
from model.rules import ALL_RULES, Rules, without
from model.seeds import BROKEN

RULES = [field.name for field in fields(Rules)]


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_needed(rule: str) -> None:
    """The recorded run fails without the rule and passes with it."""
    history = BROKEN[rule]
    assert play(history.seed, without(rule), history.focus).violation is not None
    assert play(history.seed, ALL_RULES, history.focus).violation is None
