"""A GAN as a user of Keras writes it, and the program of every operation: work on Keras's variables."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ganbench.array_ops import AdamSettings, arrays, steps_on_d
from ganbench.backend import Array, GANState
from ganbench.gan import GANSpec
from ganbench.layers import Layer
from ganbench.operation import Inputs, Operation

from .channels_last import ChannelsLast, turned
from .keras_frameworks import Work


class Learner:
    """Variables, and Keras's Adam for them."""

    def __init__(self, keras: Any, spec: AdamSettings, params: Sequence[Any], running: Sequence[Any] = ()) -> None:
        self._ops, self._eps, self.running = keras.ops, spec.eps, list(running)
        self._adam = keras.optimizers.Adam(spec.lr, spec.beta1, spec.beta2, spec.eps)
        if params[0].dtype == "float64":  # numbers of Python become float32 first
            self._adam.beta_1, self._adam.beta_2 = np.float64(spec.beta1), np.float64(spec.beta2)
        self._adam.build(params)
        kept = self._adam.variables
        self.params, self.iterations = list(params), self._adam.iterations
        self.m, self.v = ([one for one in kept if one.name.endswith(name)] for name in ("momentum", "velocity"))

    @property
    def variables(self) -> list[Any]:
        """All that a step changes, in the order of ``NetworkState``, and the number of steps."""
        return [*self.params, *self.m, *self.v, *self.running, self.iterations]

    def apply(self, grads: Sequence[Array]) -> tuple[()]:
        """Make a step. Its epsilon is that of algorithm 1 times √(1 − β₂ᵗ): Kingma & Ba 2015, section 2."""
        ops, adam, dtype = self._ops, self._adam, self.params[0].dtype
        power = ops.power(ops.cast(adam.beta_2, dtype), ops.cast(adam.iterations + 1, dtype))
        adam.epsilon = self._eps * ops.sqrt(1 - power)
        adam.apply(list(grads), self.params)
        adam.epsilon = self._eps  # what was traced must not be used again
        return ()


class Training:
    """A GAN as a user of Keras writes it: two networks, two optimisers, and a loop of one's own."""

    def __init__(self, backend: Any, spec: GANSpec, dtype: str) -> None:
        self._backend, self._spec, self._on = backend, spec, backend.on
        layers = spec.generator_layers, spec.discriminator_layers
        self._networks = [backend.network(one, dtype) for one in layers]
        self.learners = [
            Learner(backend.keras, spec, network.trainable_variables, network.non_trainable_variables)
            for network in self._networks
        ]

    def iterate(self, real: Array, z_d: Array, z_g: Array, u: Array | None = None) -> tuple[Array, ...]:
        """Train both networks; return what is reported."""
        for rows, noise, share in steps_on_d(self._spec, real, z_d, u):
            losses = self._step_on_discriminator(rows, noise, share)
        return losses[0], self._step_on_generator(z_g), *losses[1:]

    def _step_on_discriminator(self, real: Array, z: Array, share: Array | None) -> Sequence[Array]:
        (make, judge), d, ops, spec = self._networks, self.learners[1], self._backend.keras.ops, self._spec
        with self._on.untracked():
            fake = make(z, training=True)
            mixed = None if share is None else share * real + (1 - share) * fake

        def losses() -> tuple[Array, ...]:
            seen = [real, fake] if spec.apart else [ops.concatenate([real, fake])]
            logits = ops.concatenate([judge(x, training=True) for x in seen])
            d_loss = self._backend.loss(spec.objective.d, logits)
            if mixed is None:
                return (d_loss,)
            penalty = self._backend.penalty(spec, lambda x: judge(x, training=True), mixed)
            return d_loss + penalty, penalty

        found: Sequence[Array]
        found, grads = self._on.gradients(losses, d.params, d.running)
        d.apply(grads)
        return found

    def _step_on_generator(self, z: Array) -> Array:
        (make, judge), (g, d) = self._networks, self.learners

        def losses() -> tuple[Array, ...]:
            logits = judge(make(z, training=True), training=True)
            return (self._backend.loss(self._spec.objective.g, logits),)

        (g_loss,), grads = self._on.gradients(losses, g.params, [*g.running, *d.params, *d.running])
        g.apply(grads)
        return g_loss


class KerasProgram(ChannelsLast):
    """An operation on the variables of two networks and their optimisers, on those of one optimiser, or on none."""

    def __init__(self, backend: Any, operation: Operation, inputs: Inputs) -> None:
        dtype = str(next(arrays((inputs.state, inputs.batches))).dtype)
        backend.keras.config.set_floatx(dtype)  # in which an optimiser has its learning rate
        self._learners: list[Learner] = []
        self._steps: tuple[int, ...] = (1,)
        self._corrections: list[list[float]] = []
        work = self._work(backend, operation, inputs, dtype)
        self._runner = backend.on.runner(work, [one for learner in self._learners for one in learner.variables])
        super().__init__(backend, operation, inputs._replace(state=self._kept(inputs.state)))

    def _work(self, backend: Any, operation: Any, inputs: Inputs, dtype: str) -> Work:
        if operation.name == "gan_iteration":
            spec = operation.spec
            training = Training(backend, spec, dtype)
            self._learners, self._steps = training.learners, (1, spec.critic_steps)
            layers = spec.generator_layers, spec.discriminator_layers
            self._corrections = [_corrections(one, spec.batch) for one in layers]
            return lambda fixed, batch: training.iterate(*batch)
        if operation.name == "adam_step":
            params = turned(list(inputs.state.params))
            learner = Learner(backend.keras, operation.adam, [backend.keras.Variable(p) for p in params])
            self._learners = [learner]
            return lambda fixed, batch: learner.apply(batch[0])
        if hasattr(operation, "role"):  # a network must be there before anything is traced
            backend.kept_network(getattr(operation.spec, f"{operation.role}_layers"), dtype)
        return self._applied

    def _applied(self, fixed: Any, batch: Any) -> Sequence[Array]:
        """Return what an operation without variables gives."""
        state, results = self._operation.apply(self._backend, fixed, self._state, batch)
        return [*(state or ()), *results]

    def _kept(self, state: Any) -> Any:
        """Return a state whose running variances are those that Keras keeps: of the batch, not estimates from it."""
        if not isinstance(state, GANState):
            return state
        networks = [
            net._replace(running=[one / by for one, by in zip(net.running, corrections, strict=True)])
            for net, corrections in zip(state[:2], self._corrections, strict=True)
        ]
        return GANState(networks[0], networks[1], state.step)

    def reset(self) -> None:
        super().reset()
        if self._learners:
            *networks, step = self._state if isinstance(self._state, GANState) else (self._state[:-1], self._state[-1])
            values = [[*arrays(net), int(step) * per] for net, per in zip(networks, self._steps, strict=True)]
            self._runner.stage([one for part in values for one in part])
        self.result = (self._runner.held, ())

    def feed(self, batches: Sequence[tuple[Any, ...]], state: Any = None) -> None:
        super().feed(batches, self._kept(state))

    def __call__(self) -> None:
        results = self._runner.run(self._fixed, self._next_batch())
        self.result = (self._runner.held, results)

    def outputs(self) -> list[np.ndarray]:
        self._backend.synchronize(self.result)
        left, found = iter(self._runner.values()), list[Array]()
        for learner in self._learners:
            found += [next(left) for _ in learner.variables][:-1]  # without the number of steps
        found += self.result[1]
        shown = [one if isinstance(one, np.ndarray) else self._backend.to_numpy(one) for one in found]
        factors = iter([by for one in self._corrections for by in one[1::2]])
        for place in self._variances:
            shown[place] = shown[place] * next(factors)
        return self.as_defined(shown)

    @functools.cached_property
    def _variances(self) -> list[int]:
        """The places of running variances among the outputs."""
        groups = [output.group for output in self._operation.outputs()]
        return [place for place, group in enumerate(groups) if group.endswith("running var")]


def _corrections(layers: Sequence[Layer], batch: int) -> list[float]:
    """Return by what the running mean and variance of each layer with batch norm are larger than Keras's."""
    counts = [batch * layer.pixels for layer in layers if layer.batch_norm]
    return [by for n in counts for by in (1.0, n / (n - 1))]
