"""Small and unusual models that every backend must compute correctly: the extreme cases of a ``GANSpec``."""

from msgspec.structs import replace

from ..gan import GANSpec, preset, with_loss
from ..layers import ConvTable, ConvTransposeTable, DenseTable, Entry, ReshapeTable

ODD_SPECS = (
    GANSpec(name="one-row-width-1", generator=(1, 1, 1), discriminator=(1, 1, 1), batch=1),
    GANSpec(name="three-rows-bn", generator=(5, 7, 11), discriminator=(11, 3, 1), batch=3, batch_norm=True),
    GANSpec(name="one-layer", generator=(7, 13), discriminator=(13, 1), batch=5),
    GANSpec(
        name="activations",
        generator=(11, 19, 17, 13, 29),
        generator_activations=("sigmoid", "identity", "leaky_relu", "tanh"),
        discriminator=(29, 23, 19, 17, 1),
        discriminator_activations=("tanh", "leaky_relu", "sigmoid", "identity"),
        batch=41,
    ),
    GANSpec(
        name="saturating-bn",
        generator=(11, 19, 17, 13, 29),
        generator_activations=("tanh", "leaky_relu", "sigmoid", "identity"),
        discriminator=(29, 23, 7, 1),
        discriminator_activations=("identity", "relu", "identity"),
        batch=37,
        batch_norm=True,
        loss="saturating",
        lr=1e-3,
        beta1=0.0,  # no first moment, as Wasserstein GANs are trained; the logarithm of beta1 is infinite
        beta2=0.9,
        eps=1e-6,
    ),
    GANSpec(
        name="hinge",
        generator=(11, 19, 29),
        generator_activations=("relu", "sigmoid"),
        discriminator=(29, 23, 17, 1),
        discriminator_activations=("leaky_relu", "tanh", "identity"),
        batch=19,
        loss="hinge",
        critic_steps=2,
    ),
    GANSpec(
        name="least-squares",
        generator=(11, 19, 29),
        discriminator=(29, 23, 17, 1),
        batch=19,
        batch_norm=True,
        loss="least-squares",
    ),
    GANSpec(name="critic-width-1", generator=(1, 1, 1), discriminator=(1, 1, 1), batch=1, loss="wgan-gp"),
    GANSpec(name="critic-one-layer", generator=(7, 13), discriminator=(13, 1), batch=5, loss="wgan-gp", critic_steps=1),
    GANSpec(
        name="critic-no-penalty",
        generator=(5, 7, 11),
        discriminator=(11, 3, 1),
        batch=3,
        batch_norm=True,
        loss="wgan-gp",
        critic_steps=2,
        penalty=0.0,
    ),
    GANSpec(
        name="critic-activations",
        generator=(11, 19, 29),
        generator_activations=("leaky_relu", "tanh"),
        discriminator=(29, 23, 19, 17, 13, 7, 1),
        discriminator_activations=("relu", "tanh", "leaky_relu", "sigmoid", "identity", "identity"),
        batch=41,
        batch_norm=True,
        loss="wgan-gp",
        critic_steps=3,
        penalty=0.7,
    ),
)
# With 2 channels, dense layers in between, and a stride that leaves a rest.
_IMAGES: tuple[Entry, ...] = (
    5,
    ConvTransposeTable(out=6, kernel=3, batch_norm=True),
    ConvTransposeTable(out=2, kernel=4, stride=2, padding=1, activation="tanh"),
)
IMAGE_SPECS = (
    GANSpec(
        name="images",
        generator=_IMAGES,
        discriminator=(
            (2, 6, 6),
            ConvTable(out=5, kernel=3, stride=2, activation="leaky_relu"),
            ConvTable(out=6, kernel=2, activation="tanh", batch_norm=True),
            1,
        ),
        batch=7,
        init="dcgan",
    ),
    GANSpec(
        name="images-reshaped",
        generator=(
            4,
            DenseTable(out=12, batch_norm=True),
            ReshapeTable(shape=(3, 2, 2)),
            ConvTransposeTable(out=4, kernel=3, stride=2, bias=False, activation="leaky_relu"),
            ConvTable(out=1, kernel=2, padding=1),
        ),
        discriminator=(
            (1, 6, 6),
            ConvTable(out=3, kernel=4, stride=2, padding=1, batch_norm=True, activation="sigmoid"),
            DenseTable(out=8, batch_norm=True, activation="leaky_relu"),
            ReshapeTable(shape=(2, 2, 2)),
            ConvTable(out=1, kernel=2, bias=False),
        ),
        batch=5,
        loss="least-squares",
        critic_steps=2,
    ),
    GANSpec(
        name="images-critic",
        generator=_IMAGES,
        discriminator=(
            (2, 6, 6),
            ConvTable(out=5, kernel=4, stride=2, padding=1, activation="leaky_relu"),
            ConvTable(out=6, kernel=2, activation="tanh", bias=False),
            DenseTable(out=4, activation="sigmoid"),
            ConvTable(out=1, kernel=1),
        ),
        batch=7,
        loss="wgan-gp",
        critic_steps=2,
    ),
)
TINY_SPECS = (
    preset("tiny"),
    replace(preset("tiny"), name="tiny-bn", batch_norm=True),
    replace(with_loss(preset("tiny"), "wgan-gp"), name="tiny-wgan-gp"),
)
