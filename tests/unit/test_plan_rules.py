"""What plan an account has (P29)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signaling.plans.payments import StandardWebhooks
from signaling.plans.rules import DAY, Product, Standing, bought, current, parse_product
from signaling.wire.rest import PlanKind

TIME = st.one_of(st.none(), st.integers(0, 10**13))


@given(st.builds(Standing, TIME, TIME), st.integers(0, 10**13))
def test_a_plan_lasts_until_its_time_and_is_free_after(standing, now):
    kind, until = current(standing, now)
    assert (until is None) == (kind is PlanKind.FREE)
    if until is not None:
        assert until > now
        assert current(standing, max(standing.trial_until or 0, standing.paid_until or 0)) == (PlanKind.FREE, None)


@given(st.builds(Standing, TIME, TIME), st.integers(0, 10**13), st.integers(1, 3660))
def test_a_purchase_never_takes_time_away(standing, now, days):
    until = bought(standing, Product("p", days, 1, "EUR"), now)
    assert until >= now + days * DAY
    assert until >= (standing.paid_until or 0) + days * DAY


@pytest.mark.parametrize(
    "text", ["", "a:b:c:d", "plus:0:1:EUR", "plus:30:-1:EUR", "plus:30:1:eur", "pl us:30:1:EUR", "a:1:2:EUR:x"]
)
def test_what_is_no_product_is_said(text):
    with pytest.raises(ValueError, match="product"):
        parse_product(text)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "c2VjcmV0", "whsec_c2hvcnQ="])
def test_what_is_no_webhook_secret_is_said(secret):
    with pytest.raises(ValueError, match="whsec_"):
        StandardWebhooks(checkout="", secret=secret)
