"""Token bucket (pure): how many messages a sender may send. The caller gives the time."""

from collections import OrderedDict
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
        # without `min` and `max`, which would take most of the time that this takes for each frame
        level = self.level + (now - self.at) * self.rate if now > self.at else self.level
        if level > self.size:
            level = self.size
        self.at = now
        if level >= cost:
            self.level = level - cost
            return 0.0
        self.level = level
        return (cost - level) / self.rate


class TokenBuckets:
    """A bucket for each of many senders, bounded in number: the one used longest ago is forgotten first, and starts full again."""

    def __init__(self, size: float, rate: float, limit: int) -> None:
        self._size, self._rate, self._limit = size, rate, limit
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, sender: str, now: float) -> float:
        """As ``TokenBucket.take``, from the sender's."""
        bucket = self._buckets.get(sender)
        if bucket is None:
            bucket = self._buckets[sender] = TokenBucket.full(self._size, self._rate, now)
            if len(self._buckets) > self._limit:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(sender)
        return bucket.take(now)
