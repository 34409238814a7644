"""Which work on a GPU is in order: streams run beside one another, unless one is told to wait or the host waits."""

HOST = "host"


class Order:
    """What each stream, and the host, has waited for; ``beside``: pairs of streams whose work may run side by side.

    ``blocking`` streams and the default stream 0 wait for one another, as CUDA says.
    """

    def __init__(self):
        self.beside, self.blocking = set(), set()
        self._done = {}  # how much work each stream was given
        self._seen = {HOST: {}}  # by who waits: how much of it was waited for
        self._last = None  # the stream that was given work last, if nobody has waited since

    def work(self, stream):
        """Give work to a stream. It comes after all that the host has waited for until now."""
        if stream == self._last:  # what runs beside it is known
            self._done[stream] += 1
            return
        for other in self.blocking if stream == 0 else {0} & {*self._done} if stream in self.blocking else ():
            self.wait(stream, other)
        seen = self._join(stream, self._seen[HOST])
        self.beside |= {(other, stream) for other, count in self._done.items() if count > seen.get(other, 0)} - {
            (stream, stream)
        }
        self._done[stream] = self._done.get(stream, 0) + 1
        self._last = stream

    def moment(self, stream):
        """Return all that is done when a stream has done what it was given: what an event stands for."""
        return {**self._seen.get(stream, {}), stream: self._done.get(stream, 0)}

    def wait(self, who, stream):
        """Have a stream, or the host, wait for another stream."""
        self._join(who, self.moment(stream))

    def wait_for_event(self, who, moment):
        """Have a stream, or the host, wait for an event that was recorded at ``moment``."""
        self._join(who, moment)

    def wait_for_all(self):
        """Have the host wait for the device."""
        for stream in self._done:
            self.wait(HOST, stream)

    @property
    def pending(self):
        """The streams whose work the host has not waited for."""
        return {stream for stream, count in self._done.items() if count > self._seen[HOST].get(stream, 0)}

    def _join(self, who, moment):
        self._last = None
        seen = self._seen.setdefault(who, {})
        seen.update({stream: max(count, seen.get(stream, 0)) for stream, count in moment.items()})
        return seen
