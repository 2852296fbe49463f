"""Who sees whose presence (P16): every combination, against a table written out by hand."""

import itertools

import pytest
from msgspec import UNSET

from signaling.presence.rules import MINUTE, Seen, Sight, Toward, minute, records_last_seen, sight, view
from signaling.wire.messages import Presence
from signaling.wire.rest import LastSeenTo, OnlineTo

# who the viewer is to the owner: in the owner's book, not in it, blocked by the owner, on the owner's list of exceptions
VIEWERS = ("in_book", "not_in_book", "blocked", "excepted")

# whom each setting of the owner includes; nothing else is included
INCLUDES = {
    "everyone": {"in_book", "not_in_book", "excepted"},
    "contacts": {"in_book", "excepted"},  # the list counts with contacts_except only
    "contacts_except": {"in_book"},
    "nobody": set(),
}

# the viewer's own setting, and whether it includes the owner, who is in the viewer's book
RECIPROCITY = {
    ("everyone", False): True,
    ("contacts", False): True,
    ("contacts_except", False): True,
    ("contacts_except", True): False,  # the viewer excepted just this owner
    ("nobody", False): False,
}


def side(viewer: str, last_seen: str, online: str) -> Toward:
    """The owner, towards the viewer."""
    return Toward(
        last_seen=LastSeenTo(last_seen),
        online=OnlineTo(online),
        has=viewer != "not_in_book",
        blocked=viewer == "blocked",
        last_seen_excepted=viewer == "excepted",
        online_excepted=viewer == "excepted",
    )


@pytest.mark.parametrize("viewer", VIEWERS)
@pytest.mark.parametrize("last_seen", list(LastSeenTo))
@pytest.mark.parametrize("online", list(OnlineTo))
def test_every_viewer_and_setting_and_reciprocity(viewer, last_seen, online):
    resolved = last_seen if online == "same_as_last_seen" else online
    for ((own_last_seen, ls_excepts), ls_mutual), ((own_online, on_excepts), on_mutual) in itertools.product(
        RECIPROCITY.items(), RECIPROCITY.items()
    ):
        own = Toward(
            last_seen=LastSeenTo(own_last_seen),
            online=OnlineTo(own_online),
            has=True,
            last_seen_excepted=ls_excepts,
            online_excepted=on_excepts,
        )
        expected = Sight.NOTHING
        if viewer in INCLUDES[last_seen] and ls_mutual:
            expected |= Sight.LAST_SEEN
        if viewer in INCLUDES[resolved] and on_mutual:
            expected |= Sight.ONLINE
        assert sight(side(viewer, last_seen, online), own) == expected


@pytest.mark.parametrize("last_seen", list(LastSeenTo))
@pytest.mark.parametrize("viewer", VIEWERS)
def test_a_viewer_s_online_that_is_the_same_as_last_seen_counts_as_that(last_seen, viewer):
    own = Toward(last_seen=last_seen, online=OnlineTo.SAME_AS_LAST_SEEN, has=True)
    same = Toward(last_seen=last_seen, online=OnlineTo(last_seen), has=True)
    owner = side(viewer, "everyone", "everyone")
    assert sight(owner, own) == sight(owner, same)


@pytest.mark.parametrize("viewer", VIEWERS)
def test_who_has_not_the_owner_in_the_book_or_blocked_the_owner_sees_nothing(viewer):
    owner = side(viewer, "everyone", "everyone")
    everyone = {"last_seen": LastSeenTo.EVERYONE, "online": OnlineTo.EVERYONE}
    assert sight(owner, Toward(has=False, **everyone)) == Sight.NOTHING
    assert sight(owner, Toward(has=True, blocked=True, **everyone)) == Sight.NOTHING


def test_only_nobody_is_not_recorded():
    assert [to for to in LastSeenTo if not records_last_seen(to)] == [LastSeenTo.NOBODY]


BOTH = Sight.ONLINE | Sight.LAST_SEEN
NOON = 1_800_000_000  # a whole minute


@pytest.mark.parametrize(
    ("may", "online", "expected"),
    [
        (Sight.NOTHING, True, Presence("x")),
        (Sight.NOTHING, False, Presence("x")),
        (Sight.ONLINE, True, Presence("x", online=True)),
        (Sight.ONLINE, False, Presence("x", online=False)),
        (Sight.LAST_SEEN, True, Presence("x", last_seen=NOON * 1000)),
        (Sight.LAST_SEEN, False, Presence("x", last_seen=NOON * 1000)),
        (BOTH, True, Presence("x", online=True)),
        (BOTH, False, Presence("x", online=False, last_seen=NOON * 1000)),
    ],
)
def test_what_is_shown(may, online, expected):
    assert view("x", Seen(online, NOON * 1000, None), may, NOON + 100.0) == expected


def test_times_are_rounded_down_to_the_minute():
    assert [minute(NOON + s) for s in (0.0, 59.999, 60.0)] == [NOON * 1000, NOON * 1000, NOON * 1000 + MINUTE]


def test_a_minute_is_not_shown_before_it_is_over_to_who_may_not_see_online():
    seen = Seen(True, NOON * 1000, NOON * 1000 - MINUTE)
    assert view("x", seen, Sight.LAST_SEEN, NOON + 59.9).last_seen == NOON * 1000 - MINUTE
    assert view("x", seen, Sight.LAST_SEEN, NOON + 60.0).last_seen == NOON * 1000
    assert view("x", Seen(False, NOON * 1000), Sight.LAST_SEEN, NOON + 1.0).last_seen is UNSET
    assert view("x", Seen(False, NOON * 1000), BOTH, NOON + 1.0).last_seen == NOON * 1000
