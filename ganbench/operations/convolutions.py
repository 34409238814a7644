"""Operations of one convolution, or transposed convolution: the map alone, and its gradients."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from ..array_ops import ArrayOps
from ..errors import SpecError
from ..gan import GANSpec
from ..layers import Conv, ConvTranspose, OnImages
from .layers import BilinearMap


@dataclass(frozen=True)
class _Convolution(BilinearMap):
    """``batch`` images (channels, height, width), and a weight that makes ``out`` channels of them.

    Of a model: its heaviest layer of this kind, by FLOP without padding. Of equal ones it is the first, and the
    generator's come before the discriminator's.
    """

    batch: int
    channels: int
    height: int
    width: int
    out: int
    kernel: int
    stride: int
    padding: int
    kind: ClassVar[str]  # the word of tables ...
    type: ClassVar[type[OnImages]]  # ... for such layers

    @classmethod
    def of(cls, spec: GANSpec) -> Self:
        layers = [one for one in (*spec.generator_layers, *spec.discriminator_layers) if isinstance(one, cls.type)]
        if not layers:
            raise SpecError(f"model {spec.name} has no {cls.kind} layer, so no {cls.name}: try --preset dcgan-28")
        layer = max(layers, key=lambda layer: layer.flops(1))
        (c, height, width), (*_, kernel, stride, padding) = layer.in_shape, layer.window
        return cls(spec.batch, c, height, width, layer.channels, kernel, stride, padding)

    @cached_property
    def layer(self) -> OnImages:
        """The layer whose maps are computed, which has no bias."""
        image, sizes = (self.channels, self.height, self.width), (self.out, self.kernel, self.stride, self.padding)
        return self.type.over(image, *sizes, activation="identity", batch_norm=False, bias=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        return (self.kind,)

    @property
    def flops(self) -> int:
        return self.maps * self.layer.flops(self.batch)

    @property
    def usual_flops(self) -> int:
        return self.maps * self.layer.usual_flops(self.batch)

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        layer, b = self.layer, self.batch
        return {"x": (b, *layer.in_shape), "w": layer.weight_shape, "y": (b, *layer.out_shape)}

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, (backend.convolution(self.layer, *batch),)


class _ConvolutionGrad(_Convolution):
    maps = 2

    def apply(self, backend: ArrayOps, fixed: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        return state, backend.convolution_grad(self.layer, *batch)


class Conv2d(_Convolution):
    """The heaviest convolution of a model, without its bias."""

    name, kind, type = "conv2d", "conv", Conv


class Conv2dGrad(_ConvolutionGrad):
    """Both gradients of that convolution."""

    name, kind, type = "conv2d_grad", "conv", Conv


class ConvTranspose2d(_Convolution):
    """The heaviest transposed convolution of a model, without its bias."""

    name, kind, type = "conv_transpose2d", "conv_transpose", ConvTranspose


class ConvTranspose2dGrad(_ConvolutionGrad):
    """Both gradients of that transposed convolution."""

    name, kind, type = "conv_transpose2d_grad", "conv_transpose", ConvTranspose
