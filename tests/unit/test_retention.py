"""Lifetimes in docs/data.md are kept by a rule (SQL) or by the key itself (Redis)."""

import re

from signaling.privacy.retention import rules
from signaling.settings import Settings
from tests.inventory import columns

RULES: dict[str, set[int]] = {}
for _rule in rules(call_history_days=Settings().call_history_days):
    RULES.setdefault(_rule.time.table.name, set()).add(_rule.days)


def test_every_row_ends_by_an_event_or_by_a_rule_that_says_the_same():
    for name, (_, _, lifetime, *_) in columns().items():
        said = {int(days) for days in re.findall(r"(\d+) days", lifetime)}
        assert said == RULES.get(name.partition(".")[0], set()), name
        assert said or lifetime.startswith(("until ", "as above")), name
