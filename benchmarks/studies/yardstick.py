"""Independent yardstick: the textbook GAN loop, with PyTorch alone.

Prints JSON: the median seconds of one iteration; an argument says how many blocks of 20 are timed.
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


def block(fn, n=20):
    start = time.perf_counter()
    for _ in range(n):
        fn()
    return (time.perf_counter() - start) / n


def main(blocks=25):
    loop = textbook()
    block(loop, 50)
    print(json.dumps({"textbook_s": statistics.median(block(loop) for _ in range(blocks))}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
