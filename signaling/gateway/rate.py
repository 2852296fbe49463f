"""Token bucket (pure): how many messages a sender may send. The caller gives the time."""

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """``size`` messages at once, refilled by ``rate`` a second."""

    size: float
    rate: float
    level: float
    at: float

    @classmethod
    def full(cls, size: float, rate: float, now: float) -> "TokenBucket":
        """A bucket nobody took from."""
        return cls(size, rate, size, now)

    def take(self, now: float, cost: float = 1.0) -> float:
        """Take ``cost``. Returns 0 when there was enough, else the seconds until there will be (and nothing is taken)."""
        self.level = min(self.size, self.level + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.level >= cost:
            self.level -= cost
            return 0.0
        return (cost - self.level) / self.rate
