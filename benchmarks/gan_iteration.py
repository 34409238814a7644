"""``gan_iteration`` of the reference model over batch sizes; what its first call, its memory and its errors are."""

import math

from msgspec.structs import replace

from ganbench.gan import preset
from ganbench.machine import memory
from ganbench.operations import networks

from .common import FULL, TARGETS, Suite, Timed, by_shape, tracked

BATCHES = (8, 32, 128, 512, 2048) if FULL else (32, 128)
MODEL = preset("mnist-mlp")
EVERYONE = ["numpy", "torch", "torch.textbook", *TARGETS[2:3], "torch@cuda", "torch.textbook@cuda", *TARGETS[4:]]


class GanIteration(Timed):
    """Seconds per training iteration."""

    operations = by_shape(*(networks.GANIteration(replace(MODEL, batch=n)) for n in BATCHES))
    targets = EVERYONE

    def setup_cache(self) -> None:
        self.answer()


class GanIterationFacts(Suite):
    """What one fresh process shows of the reference model, beside its speed."""

    operations = by_shape(networks.GANIteration(MODEL))
    targets = EVERYONE

    def setup_cache(self) -> None:
        self.answer()

    @tracked("seconds")
    def track_first_call(self, shape: str, target: str, dtype: str) -> float:
        return self.case.first_call_s

    @tracked("relative")
    def track_worst_error(self, shape: str, target: str, dtype: str) -> float:
        return self.case.max_rel_error

    @tracked("bytes")
    def track_host_peak(self, shape: str, target: str, dtype: str) -> float:
        """Peak resident memory of the process, the imported framework included."""
        return memory.peak() or math.nan

    @tracked("bytes")
    def track_device_peak(self, shape: str, target: str, dtype: str) -> float:
        """Peak memory that the framework took on its device; n/a on the host."""
        peak = self.case.backend.device_peak()
        return math.nan if peak is None else peak  # asv shows NaN as n/a
