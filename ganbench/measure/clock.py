"""Whether the clock of a worker keeps step with that of this process."""

import math

GRAIN_S = 1e-3  # by which the clocks of two processors may differ


class Clock:
    """The readings of a worker's clock, each between two of ours, however long a message takes or a process waits.

    A request is heard after it was sent, and its answer is received after it was said. So the worker's clock is ahead
    of ours by no more than ``heard - sent``, and by no less than ``said - received``. If the clocks keep step, one
    number satisfies all messages of the worker's life. A clock that is 5 % slow falls behind by 50 ms in a second.
    """

    def __init__(self) -> None:
        self._most = (math.inf, 0.0, 0.0)  # by which it can be ahead, and the readings, theirs and ours, that say so
        self._least = (-math.inf, 0.0, 0.0)

    def compare(self, sent: float, heard: float, said: float, received: float) -> None:
        """Take the readings of one request and its answer: the middle two are the worker's. In seconds."""
        self._most = min(self._most, (heard - sent, heard, sent))
        self._least = max(self._least, (said - received, said, received))

    @property
    def contradiction(self) -> str:
        """Why no such number exists, or ''."""
        (most, heard, sent), (least, said, received) = self._most, self._least
        if least <= most + GRAIN_S:
            return ""
        return (
            f"the worker's clock shows {abs(heard - said):.4g} s between two messages, but ganbench's own clock shows "
            f"{abs(sent - received):.4g} s, so the reported times cannot be right"
        )
