"""TensorFlow without Keras: variables that are changed in place, GradientTape, and tf.function around an iteration."""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ganbench.array_ops import AdamSettings, Arrays, Triple, Updated
from ganbench.backend import Array, Backend, NetworkState, Program
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec
from ganbench.layers import Conv, Dense, Layer, OnImages, Reshape, by_layer, cast_weights
from ganbench.losses import Terms
from ganbench.operation import Inputs, Operation

from .channels_last import ChannelsLast
from .steps import Steps


class TensorflowBackend(Steps, Backend):
    """Tensors on the processor. State is held in variables, and methods change them in place."""

    name = "tensorflow"
    modes: ClassVar[dict[str, str]] = {
        "function": "one tf.function for an iteration: fake batch outside the tape, variables assigned to in place",
        "xla": "the same with jit_compile=True",
        "textbook": "GradientTape without tf.function, the fake batch made inside the tape, D called twice",
    }
    device_kinds = ("cpu",)
    formats = ("float64", "float32", "bfloat16", "float16")
    queues = True
    module = "tensorflow"
    distributions = ("tensorflow", "tensorflow-cpu")
    install = 'pip install "ganbench[tensorflow]"'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        import tensorflow as tf

        threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: as many as there are processors
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun in this process, and keeps what it began with
            tf.config.set_visible_devices([], "GPU")
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.get_logger().setLevel("ERROR")  # it warns of many functions, and each program has one
        self.tf: Any = tf
        self._textbook = self.mode == "textbook"

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        chosen = {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_DETERMINISTIC_OPS": "0"}  # what TensorFlow does if nobody chooses
        return {name: os.environ.get(name, value) for name, value in chosen.items()} | {"TF_CPP_MIN_LOG_LEVEL": "2"}

    def libraries(self) -> list[str]:
        threading, said = self.tf.config.threading, os.environ.get
        within, beside = threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()
        return [
            f"oneDNN {'off' if said('TF_ENABLE_ONEDNN_OPTS') == '0' else 'on'}",
            f"deterministic operations {'on' if said('TF_DETERMINISTIC_OPS') == '1' else 'off'}",
            f"{within or 'all'} threads in an operation, {beside or 'all'} operations at once",
        ]

    def from_numpy(self, array: np.ndarray) -> Array:
        staged = self.tf.constant(np.array(array, order="C"))
        return self.tf.bitcast(staged, self.tf.bfloat16) if array.dtype == np.uint16 else staged

    def to_numpy(self, array: Array) -> np.ndarray:
        host = np.asarray(array.numpy())
        return host.view(np.uint16) if host.itemsize == 2 and host.dtype != np.float16 else host  # a bfloat16's bits

    def synchronize(self, result: Any = None) -> None:
        """On a processor a call has finished when it returns."""

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        return InVariables(self, operation, inputs)

    def matmul(self, a: Array, b: Array) -> Array:
        return self.tf.matmul(a, b)

    def transposed(self, a: Array) -> Array:
        """Under tf.function, a product takes its operand as it is, and turns it."""
        return self.tf.transpose(a)

    def matmul_grad(self, a: Array, b: Array, grad: Array) -> tuple[Array, Array]:
        return self.tf.matmul(grad, b, transpose_b=True), self.tf.matmul(a, grad, transpose_a=True)

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        return self._linear(layer, x, w)

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        with self.tf.GradientTape() as tape:
            tape.watch([x, w])
            y = self._linear(layer, x, w)
        grad_x, grad_w = tape.gradient(y, [x, w], grad)
        return grad_x, grad_w

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        tf = self.tf
        wide = tf.cast(x, gamma.dtype)
        mean, var = tf.nn.moments(wide, [*range(x.shape.rank - 1)])
        return tf.cast(tf.nn.batch_normalization(wide, mean, var, beta, gamma, eps), x.dtype), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        with self.tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            y = self.batch_norm(x, gamma, beta, eps)[0]
        grads = tape.gradient(y, [x, gamma, beta], grad)
        return grads[0], grads[1], grads[2]

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        """Both bias corrections in two scalars. ``tf.raw_ops.ResourceApplyAdam`` would make one pass over memory.

        But it takes 1 − 0.999 in float32, which is off by 5e-5, and so are its second moments: no gate admits that.
        """
        tf = self.tf
        params, m, v = (
            [one if isinstance(one, tf.Variable) else tf.Variable(one) for one in part] for part in (params, m, v)
        )
        t = tf.cast(step, tf.float64)
        correct1, correct2 = (1 - tf.constant(beta, tf.float64) ** t for beta in (spec.beta1, spec.beta2))
        root = tf.sqrt(correct2)
        lr, eps = (tf.cast(one, params[0].dtype) for one in (spec.lr * root / correct1, spec.eps * root))
        for p, g, mi, vi in zip(params, grads, m, v, strict=True):
            g = tf.cast(g, p.dtype)
            mi.assign_add((g - mi) * (1 - spec.beta1))
            vi.assign_add((tf.square(g) - vi) * (1 - spec.beta2))
            p.assign_sub(lr * mi / (tf.sqrt(vi) + eps))
        return params, m, v

    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        return self._forward(spec.generator_layers, params, z)

    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        return self._forward(spec.discriminator_layers, params, x)

    def step_on_discriminator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, real: Array, z: Array, u: Array | None, step: Any
    ) -> tuple[Any, ...]:
        tf = self.tf

        def fake_rows() -> Array:
            return self._forward(spec.generator_layers, g.params, z, g.running)

        outside = None if self._textbook else fake_rows()
        with tf.GradientTape() as tape:
            fake = fake_rows() if outside is None else outside
            seen = [real, fake] if spec.apart or self._textbook else [tf.concat([real, fake], 0)]
            logits = tf.concat([self._forward(spec.discriminator_layers, d.params, x, d.running) for x in seen], 0)
            losses = [self._loss(spec.objective.d, tf.cast(logits, d.params[0].dtype))]
            if u is not None:
                penalty = self._penalty(spec, d.params, u * real + (1 - u) * fake)
                losses = [losses[0] + penalty, penalty]
        self.adam_step(spec, d.params, self._gradients(tape, losses[0], d.params), d.m, d.v, step)
        return g, d, *losses

    def step_on_generator(
        self, spec: GANSpec, g: NetworkState, d: NetworkState, z: Array, step: Any
    ) -> tuple[NetworkState, NetworkState, Array]:
        with self.tf.GradientTape() as tape:
            images = self._forward(spec.generator_layers, g.params, z, g.running)
            logits = self._forward(spec.discriminator_layers, d.params, images, d.running)
            g_loss = self._loss(spec.objective.g, self.tf.cast(logits, g.params[0].dtype))
        self.adam_step(spec, g.params, self._gradients(tape, g_loss, g.params), g.m, g.v, step)
        return g, d, g_loss

    def _gradients(self, tape: Any, loss: Array, params: Sequence[Array]) -> list[Array]:
        return list(tape.gradient(loss, list(params), unconnected_gradients=self.tf.UnconnectedGradients.ZERO))

    def _loss(self, terms: Terms, logits: Array) -> Array:
        tf, found = self.tf, []
        phi = {"softplus": tf.nn.softplus, "relu": tf.nn.relu, "square": tf.square}.get(terms.phi, tf.identity)
        blocks = tf.split(logits, len(terms.signs))
        for sign, shift, block in zip(terms.signs, terms.shifts, blocks, strict=True):
            block = block if sign > 0 else -block
            found.append(tf.reduce_mean(phi(block + shift if shift else block)))
        return terms.weight * tf.add_n(found)

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        with self.tf.GradientTape() as tape:
            tape.watch(list(params))
            penalty = self._penalty(spec, params, x)
        return self._gradients(tape, penalty, params)

    def _penalty(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        tf = self.tf
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = self._forward(spec.discriminator_layers, params, x)
        slopes = tf.cast(tape.gradient(logits, x), self._wide(x))
        squares = tf.reduce_sum(tf.square(slopes), 1)
        # The root has no derivative at 0, and 0 times infinity is no number: so it is taken of 1 there.
        one = tf.ones_like(squares)
        norms = tf.where(squares > 0, tf.sqrt(tf.where(squares > 0, squares, one)), tf.zeros_like(squares))
        return spec.penalty * tf.reduce_mean(tf.square(norms - 1))

    def _wide(self, x: Array) -> Any:
        """Return the dtype in which halves are summed."""
        return x.dtype if x.dtype.size > 2 else self.tf.float32

    def _forward(
        self, layers: Sequence[Layer], params: Sequence[Array], x: Array, running: Sequence[Array] = ()
    ) -> Array:
        """Return the output; running statistics are changed in place."""
        tf, statistics = self.tf, iter(running)
        if params[0].dtype != x.dtype:
            params = cast_weights(layers, params, lambda p: tf.cast(p, x.dtype))
        for layer, own in zip(layers, by_layer(layers, params), strict=True):
            x = self._linear(layer, x, *own[:1])
            if layer.batch_norm:
                x, mean, var = self.batch_norm(x, own[1], own[2], BATCH_NORM_EPS)
                count = x.shape.num_elements() // x.shape[-1]
                for fresh, old in zip((mean, var * (count / (count - 1))), statistics, strict=False):
                    old.assign_add(BATCH_NORM_MOMENTUM * (fresh - old))
            elif len(own) == 2:
                # Added in float32, so that the gradient of the bias, a sum over the batch, is not summed in halves.
                wide = self._wide(x)
                x = tf.cast(tf.cast(x, wide) + tf.cast(own[1], wide), x.dtype)
            x = self._activate(layer.activation, x)
        return x

    def _linear(self, layer: Layer, x: Array, *w: Array) -> Array:
        """Return what a layer makes before bias, batch norm and activation."""
        tf = self.tf
        if isinstance(layer, Reshape):  # a vector has the order C, H, W
            rows = tf.reshape(tf.transpose(x, (0, 3, 1, 2)) if len(layer.before) > 1 else x, (-1, *layer.after))
            return tf.transpose(rows, (0, 2, 3, 1)) if len(layer.after) > 1 else rows
        if isinstance(layer, Dense):
            return tf.matmul(x, w[0])
        assert isinstance(layer, OnImages)
        (c, height, width), _, _, stride, p = layer.window
        padding = [[0, 0], [p, p], [p, p], [0, 0]]
        if isinstance(layer, Conv):
            return tf.nn.conv2d(x, w[0], stride, padding)
        return tf.nn.conv2d_transpose(x, w[0], (x.shape[0], height, width, c), stride, padding)

    def _activate(self, name: str, x: Array) -> Array:
        nn = self.tf.nn
        if name == "leaky_relu":  # whose slope is a float32, whatever x is
            return self.tf.maximum(LEAKY_SLOPE * x, x) if x.dtype == self.tf.float64 else nn.leaky_relu(x, LEAKY_SLOPE)
        return {"relu": nn.relu, "tanh": nn.tanh, "sigmoid": nn.sigmoid}[name](x) if name != "identity" else x


def reader(tf: Any, variables: Sequence[Any]) -> Callable[[], list[np.ndarray]]:
    """Return what reads variables in one call: one after the other takes so long that it looks like work."""
    read = tf.function(lambda: [one.read_value() for one in variables], autograph=False).get_concrete_function()
    return lambda: [one.numpy() for one in read()]


class InVariables(ChannelsLast):
    """State in variables, which a call changes in place; its results are tensors that the call has made."""

    _backend: TensorflowBackend

    def __init__(self, backend: TensorflowBackend, operation: Operation, inputs: Inputs) -> None:
        tf = self._tf = backend.tf
        self._iterate: Any = self._apply
        self._held: Any = None
        self._read: Callable[[], list[np.ndarray]]
        if backend.mode != "textbook":
            self._iterate = tf.function(self._apply, autograph=False, jit_compile=backend.mode == "xla")
        super().__init__(backend, operation, inputs)

    def reset(self) -> None:
        super().reset()
        if hasattr(self._state, "step"):
            if self._held is None:
                self._held = self._tf.nest.map_structure(self._tf.Variable, self._state)
                self._read = reader(self._tf, self._tf.nest.flatten(self._held)[:-1])  # all but the step, as outputs
            self._tf.nest.map_structure(lambda held, value: held.assign(value), self._held, self._state)
            self._state = self._held
        self.result = (self._state, ())

    def _apply(self, *batch: Any) -> Any:
        state, results = self._operation.apply(self._backend, self._fixed, self._state, batch)
        if self._held is None:
            return state, results
        self._held.step.assign(state.step)
        return (), results

    def __call__(self) -> None:
        state, results = self._iterate(*self._next_batch())
        self.result = (self._held or state, results)

    def outputs(self) -> list[np.ndarray]:
        state, results = self.result
        held: list[np.ndarray] = self._read() if self._held else []
        found = results if self._held else self._operation.collect(state, results)
        return self.as_defined([*held, *map(self._backend.to_numpy, found)])
