"""What Keras leaves to the framework below it: gradients, and what compiles a step."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from ganbench.backend import Array, Backend

from .jax_backend import JaxBackend
from .tensorflow_backend import TensorflowBackend, reader
from .torch_backend import TorchBackend

Losses = Callable[[], Sequence[Array]]  # the first is differentiated
Work = Callable[[Any, Any], Sequence[Array]]  # (fixed, batch) -> results, on Keras's variables


class Framework(ABC):
    """One framework, as Keras's guides to custom training loops use it."""

    backend: ClassVar[type[Backend]]

    def __init__(self, keras: Any, own: Any) -> None:
        self.keras, self.own = keras, own

    def untracked(self) -> Any:
        """Return a context in which nothing is kept for gradients."""
        return contextlib.nullcontext()

    @abstractmethod
    def gradients(self, losses: Losses, params: Sequence[Any], changed: Sequence[Any]) -> tuple[Any, Sequence[Array]]:
        """Return losses, and the gradients of the first; ``changed``: what is read or changed beside ``params``."""

    @abstractmethod
    def vjp(
        self, function: Callable[..., Array], given: Sequence[Array], grad: Array | None = None, again: bool = False
    ) -> Sequence[Array]:
        """Return the gradients by what is given; ``again``: they are differentiated once more."""

    @abstractmethod
    def runner(self, work: Work, variables: Sequence[Any]) -> "Runner":
        """Return what does the work on variables."""


class Runner:
    """Work on variables that are changed in place."""

    def __init__(self, work: Work, read: Callable[[], Iterable[Array]], variables: Sequence[Any]) -> None:
        self.run, self.values, self.held = work, read, variables

    def stage(self, values: Sequence[Any]) -> None:
        """Give the variables these values."""
        for variable, value in zip(self.held, values, strict=True):
            variable.assign(value)


class OnTensorflow(Framework):
    """GradientTape and tf.function."""

    backend = TensorflowBackend

    def gradients(self, losses: Losses, params: Sequence[Any], changed: Sequence[Any]) -> tuple[Any, Sequence[Array]]:
        with self.own.tf.GradientTape() as tape:
            found = losses()
        return found, tape.gradient(found[0], [one.value for one in params])

    def vjp(
        self, function: Callable[..., Array], given: Sequence[Array], grad: Array | None = None, again: bool = False
    ) -> Sequence[Array]:
        zero, given = self.own.tf.UnconnectedGradients.ZERO, list(given)
        with self.own.tf.GradientTape() as tape:
            tape.watch(given)
            y = function(*given)
        found: list[Array] = tape.gradient(y, given, grad, unconnected_gradients=zero)
        return found

    def runner(self, work: Work, variables: Sequence[Any]) -> Runner:
        tf, held = self.own.tf, [one.value for one in variables]
        return Runner(tf.function(work, autograph=False), reader(tf, held) if held else list, variables)


class OnTorch(Framework):
    """Autograd, not compiled."""

    backend = TorchBackend

    def untracked(self) -> Any:
        return self.own.torch.no_grad()

    def gradients(self, losses: Losses, params: Sequence[Any], changed: Sequence[Any]) -> tuple[Any, Sequence[Array]]:
        found = losses()
        grads = self.own.torch.autograd.grad(found[0], [one.value for one in params])
        return [one.detach() for one in found], grads

    def vjp(
        self, function: Callable[..., Array], given: Sequence[Array], grad: Array | None = None, again: bool = False
    ) -> Sequence[Array]:
        leaves = [one.detach().requires_grad_() for one in given]
        found: Sequence[Array] = self.own.torch.autograd.grad(
            function(*leaves), leaves, grad, create_graph=again, materialize_grads=True
        )
        return found

    def runner(self, work: Work, variables: Sequence[Any]) -> Runner:
        def run(fixed: Any, batch: Any) -> Sequence[Array]:
            return [one.detach() for one in work(fixed, batch)]

        return Runner(run, lambda: [one.value for one in variables], variables)


class OnJax(Framework):
    """``value_and_grad`` and ``jit`` of functions whose variables are arguments."""

    backend = JaxBackend

    def gradients(self, losses: Losses, params: Sequence[Any], changed: Sequence[Any]) -> tuple[Any, Sequence[Array]]:
        now = [(one, one.value) for one in changed]

        def at(values: Sequence[Array]) -> tuple[Array, Any]:
            with self.keras.StatelessScope(state_mapping=[*zip(params, values, strict=True), *now]) as scope:
                found = losses()
            return found[0], (found, [scope.get_current_value(one) for one in changed])

        values = [one.value for one in params]
        (_, (found, after)), grads = self.own.jax.value_and_grad(at, has_aux=True)(values)
        for variable, value in zip(changed, after, strict=True):
            variable.assign(value)
        return found, grads

    def vjp(
        self, function: Callable[..., Array], given: Sequence[Array], grad: Array | None = None, again: bool = False
    ) -> Sequence[Array]:
        y, pullback = self.own.jax.vjp(function, *given)
        found: Sequence[Array] = pullback(self.own.jax.numpy.ones_like(y) if grad is None else grad)
        return found

    def runner(self, work: Work, variables: Sequence[Any]) -> Runner:
        return JaxRunner(self, work, variables)


class JaxRunner(Runner):
    """Work whose variables are arrays that go in and come out."""

    def __init__(self, on: OnJax, work: Work, variables: Sequence[Any]) -> None:
        def step(values: Sequence[Array], fixed: Any, batch: Any) -> tuple[Sequence[Array], Sequence[Array]]:
            with on.keras.StatelessScope(state_mapping=[*zip(variables, values, strict=True)]) as scope:
                results = work(fixed, batch)
            return [scope.get_current_value(one) for one in variables], results

        self._step: Any = on.own.jax.jit(step, donate_argnums=0)
        self._variables = variables
        self._staged = on.keras.ops.convert_to_tensor
        super().__init__(self._run, lambda: self.held, ())

    def stage(self, values: Sequence[Any]) -> None:
        pairs = zip(self._variables, values, strict=True)
        self.held = [self._staged(value, dtype=variable.dtype) for variable, value in pairs]

    def _run(self, fixed: Any, batch: Any) -> Sequence[Array]:
        results: Sequence[Array]
        self.held, results = self._step(self.held, fixed, batch)
        return results
