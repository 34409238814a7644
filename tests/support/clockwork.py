"""Programs and backends that only pretend to work, on a clock that stands still but for what they say they take."""

from ganbench.backends.numpy_backend import NumpyBackend

from ganbench.backend import Program


class Clock:
    """Stands still but for what a program takes, so that no test depends on the machine."""

    now = 0.0

    def perf_counter(self):
        self.now += 1e-7
        return self.now

    process_time = perf_counter


CLOCK = Clock()


class Recording(Program):
    """Keeps a log of what is done to it; each call takes ``wait`` seconds of the clock."""

    def __init__(self, iterations=1, wait=0.0):
        self.iterations, self.wait, self.log = iterations, wait, []

    def reset(self):
        self.log.append("reset")

    def __call__(self):
        self.log.append("call")
        CLOCK.now += self.wait

    def outputs(self):
        return []


class Syncing(NumpyBackend):
    queues = True

    def __init__(self, program):
        super().__init__()
        self.program = program

    def synchronize(self, result=None):
        self.program.log.append("sync")


class Queueing(NumpyBackend):
    """Returns at once; a sync waits for what was queued, and events stand on the device's own clock."""

    queues = True

    def __init__(self, program, events=True):
        super().__init__()
        self.device, self.program, self.events = "cuda", program, events
        program.queued = 0.0

    def synchronize(self, result=None):
        CLOCK.now += self.program.queued
        self.program.queued = 0.0

    def event(self):
        return CLOCK.now + self.program.queued if self.events else None

    def elapsed(self, start, end):
        return end - start


class Queued(Recording):
    def __call__(self):
        self.log.append("call")
        CLOCK.now += 1e-5  # what the host takes to enqueue
        self.queued = max(self.queued, 0.0) + 1e-3
