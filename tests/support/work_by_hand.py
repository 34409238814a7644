"""The work of an iteration of ``mnist-mlp``, and of any model, counted by hand."""

import itertools

B, Z, H, X, D = 128, 64, 256, 784, 128  # batch, noise, hidden, image, hidden of the discriminator
G_PARAMS, D_PARAMS = 218_128, 100_609


def products_of(spec):
    """Yield (m, k, n) of every matrix product of the cheapest iteration, traced layer by layer."""
    b = spec.batch

    def forward(widths):
        for n_in, n_out in itertools.pairwise(widths):
            yield b, n_in, n_out

    def backward(widths, *, weights, to_input):
        for depth in range(len(widths) - 1, 0, -1):
            n_in, n_out = widths[depth - 1], widths[depth]
            if weights:
                yield n_out, b, n_in  # δᵀ a
            if depth > 1 or to_input:
                yield b, n_out, n_in  # δ W

    yield from forward(spec.generator)  # D step: the fake batch
    for _ in ("real", "fake"):
        yield from forward(spec.discriminator)
        yield from backward(spec.discriminator, weights=True, to_input=False)
    yield from forward(spec.generator)  # G step
    yield from forward(spec.discriminator)
    yield from backward(spec.discriminator, weights=False, to_input=True)
    yield from backward(spec.generator, weights=True, to_input=False)
