"""Hundreds of random lives of a call, fifty steps each, three devices a side: never stuck, never ended twice, both sides told the same. The
service is held to the same by ``tests/integration/test_calls_model.py``, with hubs that die.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from signaling.calls import machine
from signaling.calls.machine import Call, TellEnded, advance
from signaling.wire.errors import Refused
from signaling.wire.messages import Reason, Rung, Stage

CALLER, CALLEE = ("a1", "a2", "a3"), ("b1", "b2", "b3")
ORDER = [Stage.INVITING, Stage.RINGING, Stage.CONNECTING, Stage.CONNECTED, Stage.ENDED]
EVENTS = (
    machine.Rang, machine.Accepted, machine.Declined, machine.Busy, machine.Connected, machine.Failed, machine.HungUp,
    machine.Left, machine.Returned, machine.Removed, lambda device: machine.Moved(device, Rung.RELAY),
)  # fmt: skip


class CallLife(RuleBasedStateMachine):
    @initialize(devices=st.sets(st.sampled_from(CALLEE)), online=st.sets(st.sampled_from(CALLEE)))
    def invite(self, devices, online):
        self.now = 1000.0
        self.sockets = {*CALLER, *online}
        self.call, effects = machine.invite(
            call="c", caller="A", caller_device="a1", caller_phone="+1", callee="B", devices=tuple(sorted(devices)),
            reached=frozenset(devices & online), now=self.now,
        )  # fmt: skip
        self.told: dict[str, list[Reason]] = {}
        self.endings = 0
        self.reached_ever = set(self.call.reached)
        assert all(e.device in self.call.reached for e in effects)

    def step(self, event):
        before: Call = self.call
        try:
            after, effects = advance(before, event, self.now)
        except Refused:
            assert not isinstance(
                event, (machine.Left, machine.Returned, machine.Removed, machine.Stopped, machine.DeadlinePassed, machine.Collided)
            )
            return
        assert ORDER.index(after.stage) >= ORDER.index(before.stage)
        assert after.seq >= before.seq
        if not before.live:
            assert (after, effects) == (before, [])
        if before.live and not after.live:
            self.endings += 1
        for effect in effects:
            if isinstance(effect, TellEnded):
                self.told.setdefault(effect.device, []).append(effect.reason)
        self.call = after
        self.reached_ever |= after.reached

    @rule(kind=st.sampled_from(EVENTS), device=st.sampled_from(CALLER + CALLEE))
    def event(self, kind, device):
        self.step(kind(device))

    @rule(device=st.sampled_from(CALLER + CALLEE), right=st.integers(0, 5), wrong=st.sampled_from(CALLER + CALLEE))
    def take_over(self, device, right, wrong):
        """Mostly by who knows how the call stands."""
        account = device[0].upper()
        old = self.call.device_of(account)
        to = self.call.callee_device if account == "A" else self.call.caller_device
        before = self.call
        self.step(
            machine.TakenOver(device, account, old=wrong if right == 0 else old or wrong, to=wrong if right == 1 else to or wrong)
        )
        if self.call is not before:
            assert self.told.pop(old)[-1] is Reason.MOVED
            self.told.pop(device, None)  # it is in the call again, whatever it was told before
            assert (self.call.device_of(account), self.call.up, self.call.stage) == (device, frozenset(), Stage.CONNECTED)

    @rule(who=st.sampled_from(CALLEE))
    def goes_well(self, who):
        """Far enough that a call can be taken over: chance alone seldom gets there."""
        for event in (machine.Accepted(who), machine.Connected(self.call.caller_device), machine.Connected(who)):
            self.step(event)

    @rule(chance=st.integers(0, 19))
    def stop(self, chance):
        if chance == 19:
            self.step(machine.Stopped())

    @rule(seconds=st.sampled_from([0.1, 5.0, 19.9, 45.0, 61.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.step(machine.DeadlinePassed())

    @precondition(lambda self: self.call.stage in (Stage.INVITING, Stage.RINGING) and not self.call.hidden)
    @rule(survives=st.booleans(), device=st.sampled_from(CALLEE))
    def glare(self, survives, device):
        if survives:
            if device in self.call.devices:
                self.step(machine.Collided(device))
        else:
            self.step(machine.Collided("", superseded_by="b"))

    @invariant()
    def never_stuck(self):
        call = self.call
        if call.live:
            connected = call.stage is Stage.CONNECTED and not call.away and call.up == {call.caller_device, call.callee_device}
            assert call.deadline is not None or connected, call
            assert call.deadline is None or call.deadline <= self.now + 60
            assert call.deadline is None or call.deadline > self.now, "a deadline that has passed ends the call"
        else:
            assert call.reason is not None
            assert call.deadline is None

    @invariant()
    def ended_once_and_everyone_told_once(self):
        assert self.endings == (0 if self.call.live else 1)
        assert all(len(reasons) == 1 for reasons in self.told.values()), self.told
        if not self.call.live:
            assert self.told[self.call.caller_device] == [self.call.reason]
            for device in CALLEE:
                if device == self.call.callee_device:
                    assert self.told[device] == [self.call.reason]
                elif self.told.get(device):
                    assert self.told[device][0] in (self.call.reason, Reason.ANSWERED_ELSEWHERE)

    @invariant()
    def nobody_hears_of_a_hidden_call(self):
        if self.call.hidden:
            assert set(self.told) <= {self.call.caller_device}

    def teardown(self):
        """Let time pass: every call that lost a party, or never got one, ends by itself."""
        self.step(machine.Left(self.call.caller_device))
        self.now += 100
        self.step(machine.DeadlinePassed())
        assert not self.call.live


CallLife.TestCase.settings = settings(
    max_examples=600, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCallLife = CallLife.TestCase
