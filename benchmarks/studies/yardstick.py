"""Independent yardstick: the textbook GAN loop and the matrix-product floor, timed alternately.

Prints JSON: median seconds of one textbook iteration, of the floor, and their ratio.
Needs only torch; an argument says how many pairs of blocks are timed.
Use it to check that `torch.textbook` is neither a straw man nor flattered.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn

Z, HIDDEN_G, IMG, HIDDEN_D, BATCH = 64, 256, 784, 128, 128


def textbook():
    """Return a callable that runs one training iteration the way most tutorials write it."""
    g = nn.Sequential(nn.Linear(Z, HIDDEN_G), nn.ReLU(), nn.Linear(HIDDEN_G, IMG), nn.Sigmoid())
    d = nn.Sequential(nn.Linear(IMG, HIDDEN_D), nn.ReLU(), nn.Linear(HIDDEN_D, 1), nn.Sigmoid())
    bce = nn.BCELoss()
    adam_g = torch.optim.Adam(g.parameters(), lr=2e-4)
    adam_d = torch.optim.Adam(d.parameters(), lr=2e-4)
    real = torch.rand(BATCH, IMG)

    def iteration():
        p_real, p_fake = d(real), d(g(torch.randn(BATCH, Z)))
        d_loss = bce(p_real, torch.ones_like(p_real)) + bce(p_fake, torch.zeros_like(p_fake))
        adam_d.zero_grad()
        d_loss.backward()
        adam_d.step()
        p_fake = d(g(torch.randn(BATCH, Z)))
        g_loss = bce(p_fake, torch.ones_like(p_fake))
        adam_g.zero_grad()
        g_loss.backward()
        adam_g.step()

    return iteration


def floor():
    """Return a callable that runs only the large matrix products of one minimal iteration."""
    w1, w2, v1 = torch.rand(HIDDEN_G, Z), torch.rand(IMG, HIDDEN_G), torch.rand(HIDDEN_D, IMG)
    z, h, x = torch.rand(BATCH, Z), torch.rand(BATCH, HIDDEN_G), torch.rand(BATCH, IMG)
    x2, k, k2 = torch.rand(2 * BATCH, IMG), torch.rand(BATCH, HIDDEN_D), torch.rand(2 * BATCH, HIDDEN_D)
    pairs = [  # D step: G forward, D forward on both halves, D weight gradient
        (z, w1.t()),
        (h, w2.t()),
        (x2, v1.t()),
        (k2.t(), x2),
        # G step: G and D forward, gradient to the image, to G's second layer, its input, its first layer
        (z, w1.t()),
        (h, w2.t()),
        (x, v1.t()),
        (k, v1),
        (x.t(), h),
        (x, w2),
        (h.t(), z),
    ]
    outs = [torch.empty(a.shape[0], b.shape[1]) for a, b in pairs]

    def products():
        for (a, b), out in zip(pairs, outs, strict=True):
            torch.mm(a, b, out=out)

    return products


def block(fn, n=20):
    start = time.perf_counter()
    for _ in range(n):
        fn()
    return (time.perf_counter() - start) / n


def main(count=25):
    loop, products = textbook(), floor()
    for fn in (loop, products):
        block(fn, 50)
    pairs = [(block(loop), block(products, 60)) for _ in range(count)]
    textbook_s = statistics.median(a for a, _ in pairs)
    floor_s = statistics.median(b for _, b in pairs)
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        json.dumps(
            {
                "threads": torch.get_num_threads(),
                "textbook_s": textbook_s,
                "floor_s": floor_s,
                "textbook_over_floor": ratio,
            }
        )
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
