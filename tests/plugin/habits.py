"""A backend whose modes have the honest habits that once got a wrong time published."""

from typing import ClassVar

import numpy as np
from ganbench.backends.numpy_backend import NumpyBackend

from ganbench.backend import BoundProgram, Program


class Promise:
    """What a lazy call hands out; computed once somebody asks for it."""

    def __init__(self, make):
        self._make = make

    def get(self):
        if self._make is not None:
            self._made, self._make = self._make(), None
        return self._made


class LazyProgram(BoundProgram):
    """Calls only note what is to be computed."""

    def __call__(self):
        fixed, batch, state = self._fixed, self._next_batch(), self._state
        self.result = (state, Promise(lambda: self._step(fixed, state, batch)[1]))

    def outputs(self):
        made = self.result[1].get() if isinstance(self.result[1], Promise) else self.result[1]
        return [np.array(array) for array in self._operation.collect(self.result[0], made)]


class FoldedProgram(BoundProgram):
    """Its batches became constants while it was prepared."""

    def feed(self, batches, state=None):
        super().feed(self._operation_batches, state)

    def __init__(self, backend, operation, inputs):
        self._operation_batches = inputs.batches
        super().__init__(backend, operation, inputs)


class ReplayingProgram(BoundProgram):
    """Gives back the states that it came through when it was first run, by the number of calls."""

    def __init__(self, backend, operation, inputs):
        self._seen = []
        super().__init__(backend, operation, inputs)

    def reset(self):
        super().reset()
        self._calls = 0

    def __call__(self):
        if self._calls == len(self._seen):
            super().__call__()
            self._seen.append([np.array(array) for array in self._operation.collect(*self.result)])
        self._calls += 1

    def outputs(self):
        return [np.array(array) for array in self._seen[self._calls - 1]]


class UnfedProgram(Program):
    """Has no method to take other inputs, as programs had no need of one before."""

    def __init__(self, backend, operation, inputs):
        self._bound = BoundProgram(backend, operation, inputs)

    def reset(self):
        self._bound.reset()

    def __call__(self):
        self._bound()
        self.result = self._bound.result

    def outputs(self):
        return self._bound.outputs()


class HabitsBackend(NumpyBackend):
    name = "habits"
    modes: ClassVar[dict[str, str]] = {
        "lazy": "computes what synchronize is given",
        "unsynced": "the same, with a synchronize that does nothing",
        "keeps": "keeps its first product, and its first normalised batch",
        "folds": "makes the inputs that it was prepared on constants",
        "hoists": "keeps what Adam makes of its first gradients",
        "replays": "runs once, and then gives back what it found",
        "unfed": "takes no other inputs",
    }
    module, distributions, install = "habits", ("ganbench-outside",), "none"
    programs: ClassVar = {
        "lazy": LazyProgram,
        "unsynced": LazyProgram,
        "folds": FoldedProgram,
        "replays": ReplayingProgram,
        "unfed": UnfedProgram,
    }

    def __init__(self, mode="", device="", precision="ieee"):
        super().__init__(mode, device, precision)
        self._kept = {}

    def synchronize(self, result=None):
        if self.mode == "lazy" and isinstance(result, tuple) and isinstance(result[1], Promise):
            result[1].get()

    def prepare(self, operation, inputs):
        kind = self.programs.get(self.mode, BoundProgram)
        if operation.stateful and kind is LazyProgram:
            kind = BoundProgram
        return kind(self, operation, inputs)

    def _first(self, key, make):
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def matmul(self, a, b):
        return self._first((a.shape, b.shape), lambda: a @ b) if self.mode == "keeps" else a @ b

    def batch_norm(self, x, gamma, beta, eps):
        make = super().batch_norm
        return (
            self._first(x.shape, lambda: make(x, gamma, beta, eps))
            if self.mode == "keeps"
            else make(x, gamma, beta, eps)
        )

    def adam_step(self, spec, params, grads, m, v, step):
        if self.mode != "hoists":
            return super().adam_step(spec, params, grads, m, v, step)
        root = (1 - spec.beta2 ** int(step)) ** 0.5
        lr = spec.lr * root / (1 - spec.beta1 ** int(step))
        for place, (p, g, mi, vi) in enumerate(zip(params, grads, m, v, strict=True)):
            mi *= spec.beta1
            mi += self._first(("m", place, g.shape), lambda g=g: (1 - spec.beta1) * g)
            vi *= spec.beta2
            vi += self._first(("v", place, g.shape), lambda g=g: (1 - spec.beta2) * g * g)
            p -= lr * mi / (np.sqrt(vi) + spec.eps * root)
        return params, m, v


class ClaimsBackend(HabitsBackend):
    """A lazy framework whose author says that it is none."""

    name = "claims"
    queues = True
    modes: ClassVar[dict[str, str]] = {"lazy": HabitsBackend.modes["lazy"]}
