"""Train a GAN on handwritten digits, stop, go on with another framework, and draw one more image.

    python examples/train_digits.py

writes its log, states and pictures into the folder ``digits`` below the current one.
"""

from pathlib import Path

import numpy as np

import ganbench

FOLDER = Path("digits")

ganbench.train("numpy", preset="mnist-mlp", epochs=20, output=FOLDER / "begun")
ganbench.train("torch", epochs=40, resume=FOLDER / "begun" / "state.npz", output=FOLDER / "finished")

trained = ganbench.load_state(FOLDER / "finished" / "state.npz")
generator = trained.gan.generator
noise = np.random.default_rng(1).standard_normal((1, trained.spec.z_dim))
image = ganbench.generate(trained.spec, generator.params, generator.running, noise).reshape(28, 28)
for line in image[::2]:
    print("".join(" .:+#@"[int(5.99 * value)] for value in line))
print(f"{trained.step} iterations; pictures are in {FOLDER / 'finished'}")
