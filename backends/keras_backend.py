"""Keras 3 on TensorFlow, JAX or PyTorch: layers, its Adam, and the custom loop that its guides show for each of them.

What Keras costs is the ratio to the same framework without it.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ganbench.array_ops import AdamSettings, Arrays, Trained, Triple, Updated
from ganbench.backend import Array, Backend, GANState, Program
from ganbench.errors import UnavailableError, UnsupportedError
from ganbench.gan import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, LEAKY_SLOPE, GANSpec
from ganbench.layers import KINDS, Conv, Dense, Layer, OnImages, Reshape
from ganbench.losses import LOSSES, Terms
from ganbench.operation import Inputs, Operation

from .keras_frameworks import OnJax, OnTensorflow, OnTorch
from .keras_training import KerasProgram, Learner

FRAMEWORKS: dict[str, Any] = {"tensorflow": OnTensorflow, "jax": OnJax, "torch": OnTorch}


class KerasBackend(Backend):
    """Tensors of the framework that the mode names; operations are those of ``keras.ops``."""

    name = "keras"
    modes: ClassVar[dict[str, str]] = {
        "tensorflow": "Sequential and Adam of Keras in a GradientTape, an iteration in one tf.function",
        "jax": "the same, stateless, in value_and_grad, an iteration in one jit with donated state",
        "torch": "the same in PyTorch's autograd, not compiled",
    }
    device_kinds = ("cpu",)
    losses = tuple(LOSSES)
    layers = KINDS
    queues = True
    module = "keras"
    distributions = ("keras",)
    install = 'pip install "ganbench[keras]"'

    def __init__(self, mode: str = "", device: str = "", precision: str = "ieee") -> None:
        super().__init__(mode, device, precision)
        os.environ["KERAS_BACKEND"] = self.mode
        own = FRAMEWORKS[self.mode]
        self._own: Backend = own.backend(device=self.device)
        import keras

        if keras.config.backend() != self.mode:
            raise UnavailableError(f"Keras runs on {keras.config.backend()} in this process, and cannot change that")
        self.keras: Any = keras
        self.on: Any = own(keras, self._own)
        self._networks: dict[Any, Any] = {}

    @classmethod
    def environment(cls, device: str, dtype: str, precision: str, cache: str) -> dict[str, str]:
        """Settings of a user's home are not read. Keras would take a GPU wherever its framework sees one."""
        found = {"KERAS_HOME": cache, "CUDA_VISIBLE_DEVICES": ""}
        for own in FRAMEWORKS.values():
            found |= own.backend.environment(device, dtype, precision, cache)
        return found

    def libraries(self) -> list[str]:
        return [f"{self.mode} {self._own.probe().version}", *self._own.libraries()]

    def from_numpy(self, array: np.ndarray) -> Array:
        return self.keras.ops.convert_to_tensor(np.array(array, order="C"), dtype=str(array.dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        return self._own.to_numpy(array)

    def synchronize(self, result: Any = None) -> None:
        self._own.synchronize(result)

    def mark(self, result: Any) -> Any:
        return self._own.mark(result)

    def prepare(self, operation: Operation, inputs: Inputs) -> Program:
        return KerasProgram(self, operation, inputs)

    def matmul(self, a: Array, b: Array) -> Array:
        return self.keras.ops.matmul(a, b)

    def transposed(self, a: Array) -> Array:
        return self.keras.ops.transpose(a)

    def matmul_grad(self, a: Array, b: Array, grad: Array) -> tuple[Array, Array]:
        ops = self.keras.ops
        return ops.matmul(grad, ops.transpose(b)), ops.matmul(ops.transpose(a), grad)

    def convolution(self, layer: OnImages, x: Array, w: Array) -> Array:
        ops, (stride, p) = self.keras.ops, layer.window[3:]
        padding = _padding(layer)
        if isinstance(layer, Conv):
            x = ops.pad(x, ((0, 0), (p, p), (p, p), (0, 0))) if p and padding == "valid" else x
            return ops.conv(x, w, stride, padding, "channels_last")
        y = ops.conv_transpose(x, w, stride, padding, data_format="channels_last")
        return y[:, p:-p, p:-p] if p and padding == "valid" else y

    def convolution_grad(self, layer: OnImages, x: Array, w: Array, grad: Array) -> tuple[Array, Array]:
        grad_x, grad_w = self.on.vjp(lambda x, w: self.convolution(layer, x, w), [x, w], grad)
        return grad_x, grad_w

    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        mean, var = self.keras.ops.moments(x, [*range(len(x.shape) - 1)])
        return self.keras.ops.batch_normalization(x, mean, var, -1, beta, gamma, eps), mean, var

    def batch_norm_grad(self, x: Array, gamma: Array, beta: Array, eps: float, grad: Array) -> Triple:
        grads = self.on.vjp(lambda x, gamma, beta: self.batch_norm(x, gamma, beta, eps)[0], [x, gamma, beta], grad)
        return grads[0], grads[1], grads[2]

    def adam_step(self, spec: AdamSettings, params: Arrays, grads: Arrays, m: Arrays, v: Arrays, step: Any) -> Updated:
        learner = Learner(self.keras, spec, [self.keras.Variable(p) for p in params])
        for held, value in zip(learner.variables, [*params, *m, *v, step - 1], strict=True):
            held.assign(value)
        learner.apply(grads)
        moved = [[one.value for one in part] for part in (learner.params, learner.m, learner.v)]
        return moved[0], moved[1], moved[2]

    def generator_forward(self, spec: GANSpec, params: Sequence[Array], z: Array) -> Array:
        with self.on.untracked():
            return self._forward(spec.generator_layers, params, z)

    def discriminator_forward(self, spec: GANSpec, params: Sequence[Array], x: Array) -> Array:
        with self.on.untracked():
            return self._forward(spec.discriminator_layers, params, x)

    def _forward(self, layers: Sequence[Layer], params: Sequence[Array], x: Array) -> Array:
        network = self.kept_network(layers, self.keras.backend.standardize_dtype(x.dtype))
        running = [one.value for one in network.non_trainable_variables]
        return network.stateless_call(list(params), running, x, training=True)[0]

    def gan_iteration(
        self, spec: GANSpec, state: GANState, real: Array, z_d: Array, z_g: Array, u: Array | None = None
    ) -> Trained:
        raise UnsupportedError("Keras holds its state in networks and optimisers: prepare() makes a program of these")

    def penalty_grad(self, spec: GANSpec, params: Sequence[Array], x: Array) -> list[Array]:
        def penalty(*params: Array) -> Array:
            return self.penalty(spec, lambda x: self._forward(spec.discriminator_layers, params, x), x)

        return list(self.on.vjp(penalty, list(params)))

    def penalty(self, spec: GANSpec, critic: Callable[[Array], Array], x: Array) -> Array:
        ops = self.keras.ops
        (slopes,) = self.on.vjp(lambda x: ops.sum(critic(x)), [x], again=True)
        squares = ops.sum(ops.square(slopes), 1)
        # The root has no derivative at 0, and 0 times infinity is no number: so it is taken of 1 there.
        one, zero = ops.ones_like(squares), ops.zeros_like(squares)
        norms = ops.where(squares > 0, ops.sqrt(ops.where(squares > 0, squares, one)), zero)
        return spec.penalty * ops.mean(ops.square(norms - 1))

    def loss(self, terms: Terms, logits: Array) -> Array:
        ops, found = self.keras.ops, []
        named = {"relu": ops.relu, "square": ops.square}
        blocks = ops.split(logits, len(terms.signs))
        for sign, shift, block in zip(terms.signs, terms.shifts, blocks, strict=True):
            if terms.phi == "softplus":  # softplus(−logit) is −log p
                target = ops.ones_like(block) if sign < 0 else ops.zeros_like(block)
                found.append(ops.mean(ops.binary_crossentropy(target, block, from_logits=True)))
            else:
                found.append(ops.mean(named.get(terms.phi, lambda x: x)(sign * block + shift)))
        return terms.weight * sum(found)

    def kept_network(self, layers: Sequence[Layer], dtype: str) -> Any:
        """Return the network through which parameters are sent that are arguments."""
        if (layers, dtype) not in self._networks:
            self._networks[layers, dtype] = self.network(layers, dtype)
        return self._networks[layers, dtype]

    def network(self, layers: Sequence[Layer], dtype: str) -> Any:
        """Return the Sequential of these layers, from rows to rows."""
        made = [self.keras.Input(layers[0].in_shape, dtype=dtype)]
        for layer in layers:
            made += self._modules(layer, dtype)
        return self.keras.Sequential(made)

    def _modules(self, layer: Layer, dtype: str) -> list[Any]:
        of, found = self.keras.layers, []
        if isinstance(layer, Reshape):  # a vector has the order C, H, W
            before, after = (_mixed(shape) for shape in (layer.before, layer.after))
            found += [of.Permute((3, 1, 2), dtype=dtype)] * before
            c, *sides = layer.after
            found += [of.Reshape(layer.after if after else (*sides, c), dtype=dtype)]
            found += [of.Permute((2, 3, 1), dtype=dtype)] * after
            return found
        bias = layer.bias and not layer.batch_norm
        if isinstance(layer, Dense):
            found.append(of.Dense(layer.n_out, use_bias=bias, dtype=dtype))
        else:
            assert isinstance(layer, OnImages)
            window, padding = layer.window, _padding(layer)
            beside, conv = window.padding if padding == "valid" else 0, isinstance(layer, Conv)
            if beside and conv:
                found.append(of.ZeroPadding2D(beside, data_format="channels_last", dtype=dtype))
            kind = of.Conv2D if conv else of.Conv2DTranspose
            found.append(kind(layer.channels, window.kernel, strides=window.stride, padding=padding, use_bias=bias,
                              data_format="channels_last", dtype=dtype))  # fmt: skip
            if beside and not conv:
                found.append(of.Cropping2D(beside, data_format="channels_last", dtype=dtype))
        if layer.batch_norm:
            found.append(of.BatchNormalization(momentum=1 - BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPS, dtype=dtype))
        if layer.activation == "leaky_relu" and dtype != "float64":
            found.append(of.LeakyReLU(LEAKY_SLOPE, dtype=dtype))
        elif layer.activation == "leaky_relu":  # TensorFlow's has a slope in float32, whatever it is given
            found.append(of.Activation(lambda x: self.keras.ops.maximum(LEAKY_SLOPE * x, x), dtype=dtype))
        elif layer.activation != "identity":
            found.append(of.Activation(layer.activation, dtype=dtype))
        return found


def _mixed(shape: tuple[int, ...]) -> bool:
    """Whether (C, H, W) and (H, W, C) are different orders of an image's values."""
    return len(shape) == 3 and shape[0] > 1 and shape[1:] != (1, 1)


def _padding(layer: OnImages) -> str:
    """Return ``same`` where that is the padding which PyTorch says by a number."""
    window = layer.window
    if window.kernel < window.stride and not isinstance(layer, Conv):
        raise UnsupportedError("Keras makes more of a transposed convolution whose kernel is smaller than its stride")
    fits = all(big == window.stride * small for big, small in zip(window.big[1:], window.small[1:], strict=True))
    return "same" if fits and window.kernel - window.stride == 2 * window.padding else "valid"
