"""Who is let in when all come at once: a hub that takes 3 ms for each, and 10,000 clients."""

import heapq

from signaling.gateway.admission import LATEST, SOON, Admission

EACH = 0.003


def stampede(clients: int, *, each: float = EACH) -> tuple[list[float], list[int]]:
    """Simulated: when each client was let in, and how often each was told to wait. It comes back when it was told to."""
    door, now, free = Admission(), 0.0, 0.0
    coming = [(0.001 * number / clients, number) for number in range(clients)]
    heapq.heapify(coming)
    queue: list[tuple[float, int]] = []
    came, times, waits = dict.fromkeys(range(clients), 0.0), [], [0] * clients
    patience: list[float] = []
    while coming or queue:
        if queue and (not coming or free <= coming[0][0]):
            began, number = queue.pop(0)
            free = max(free, began) + each
            door.leave(free)
            times.append(free)
            patience.append(free - came[number])
            continue
        now, number = heapq.heappop(coming)
        wait = door.arrive(now)
        if wait:
            waits[number] += 1
            heapq.heappush(coming, (now + wait, number))
        else:
            came[number] = now
            queue.append((now, number))
    assert door.waiting == 0
    assert max(patience) < 3 * SOON
    return times, waits


def test_all_are_let_in_nearly_as_fast_as_if_they_had_queued_and_nobody_waits_long_at_the_door():
    times, waits = stampede(10_000)
    assert len(times) == 10_000
    assert times[-1] < 1.4 * 10_000 * EACH
    assert max(waits) <= 6


def test_a_hub_that_is_slower_than_was_reckoned_says_so_in_the_times_that_it_tells():
    times, waits = stampede(2_000, each=0.01)
    assert times[-1] < 1.4 * 2_000 * 0.01
    assert max(waits) <= 4


def test_a_few_are_never_told_to_wait():
    assert stampede(100)[1] == [0] * 100


def test_nobody_is_told_to_wait_longer_than_a_call_can():
    door = Admission()
    assert max(door.arrive(0.0) for _ in range(100_000)) <= LATEST


def test_those_told_to_wait_come_at_different_times():
    door = Admission()
    told = [wait for _ in range(2_500) if (wait := door.arrive(0.0))]
    assert len(set(told)) == len(told)
