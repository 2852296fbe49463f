"""Lifetimes in docs/data.md are kept by a rule (SQL) or by the key itself (Redis)."""

import re

from signaling.privacy.retention import rules
from signaling.settings import Settings
from tests.inventory import columns

RULES = {rule.time.table.name: rule for rule in rules(call_history_days=Settings().call_history_days)}


def test_every_row_ends_by_an_event_or_by_a_rule_that_says_the_same():
    for name, (_, _, lifetime, *_) in columns().items():
        days = re.search(r"(\d+) days", lifetime)
        rule = RULES.get(name.partition(".")[0])
        if days is None:
            assert lifetime.startswith(("until ", "as above")), name
            assert rule is None, name
        else:
            assert rule is not None, name
            assert rule.days == int(days[1]), name
