"""Any small model with convolutions that ganbench takes."""

from hypothesis import assume, strategies as st

from ganbench.errors import SpecError
from ganbench.gan import GANSpec
from ganbench.layers import ConvTable, ConvTransposeTable, DenseTable, ReshapeTable
from ganbench.layers.tables import network
from ganbench.losses import LOSSES

BENT = ["relu", "leaky_relu", "tanh", "sigmoid"]
# With losses that are linear in D's outputs, what pushes some parameters one way on real rows pushes them back on fake
# ones: their gradient is nothing but rounding, of which Adam makes whole steps.
CURVED_LOSSES = tuple(name for name, loss in LOSSES.items() if not loss.cancels)


@st.composite
def image_models(draw, losses=CURVED_LOSSES):
    loss = draw(st.sampled_from(losses))
    penalised = LOSSES[loss].penalised

    def layer(kind, largest=5, batch_norm=True, **fields):
        normalised = batch_norm and draw(st.booleans())
        # Batch norm alone before the logit: then the mean of all logits is beta's, whatever the images are.
        activation = draw(st.sampled_from(BENT if normalised else [*BENT, "identity"]))
        fields = {"out": draw(st.integers(2, largest)), "activation": activation, **fields}
        return kind(**fields, batch_norm=normalised, bias=draw(st.booleans()))

    def geometry(strides=(1, 2, 3)):
        kernel = draw(st.integers(1, 5))
        return {
            "kernel": kernel,
            "stride": draw(st.sampled_from(strides)),
            "padding": draw(st.integers(0, min(2, kernel - 1))),
        }

    generator = [draw(st.integers(2, 8))]
    if draw(st.booleans()):
        side, channels = draw(st.integers(2, 3)), draw(st.integers(2, 4))
        generator += [layer(DenseTable, out=channels * side * side), ReshapeTable(shape=(channels, side, side))]
    else:
        generator.append(layer(ConvTransposeTable, kernel=draw(st.integers(2, 4))))
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from([ConvTransposeTable, ConvTransposeTable, ConvTable]))
        generator.append(layer(kind, **geometry((1,) if kind is ConvTable else (1, 2, 3))))
    last = draw(st.sampled_from(["tanh", "sigmoid"]))
    channels = draw(st.integers(1, 3))
    fields = {"out": channels, "kernel": 4, "stride": 2, "padding": 1, "activation": last}
    generator.append(layer(ConvTransposeTable, batch_norm=False, **fields))
    try:
        image = shape_of(generator)
        assume(image[1] <= 16)
        discriminator = [image]
        for _ in range(draw(st.integers(1, 3))):
            discriminator.append(layer(ConvTable, batch_norm=not penalised, **geometry()))
        discriminator.append(draw(st.sampled_from([1, DenseTable(out=1, bias=False)])))
        if draw(st.booleans()):
            discriminator.insert(-1, layer(DenseTable, batch_norm=not penalised))
        steps = draw(st.sampled_from([1, 1, 2]))
        return GANSpec(
            name="random-images",
            generator=tuple(generator),
            discriminator=tuple(discriminator),
            batch=draw(st.integers(3, 6)),
            loss=loss,
            critic_steps=steps,
            lr=draw(st.sampled_from([2e-4, 1e-3])),
            beta1=draw(st.sampled_from([0.0, 0.5, 0.9])),
            beta2=draw(st.sampled_from([0.9, 0.999])),
            # Without batch norm such small weights make rows that hardly differ, so batch norm in D cancels gradients.
            init=draw(st.sampled_from(["uniform", "dcgan"])) if all(map(normed, generator[1:-1])) else "uniform",
        )
    except SpecError:
        assume(False)


def normed(entry):
    return getattr(entry, "batch_norm", True)


def shape_of(entries):
    """Return C, H, W that a generator's entries make."""
    return network("generator", entries, "sigmoid")[1]
