"""Train a GAN on handwritten digits, go on with another framework, and draw one more image.

    python examples/train_digits.py [epochs]

writes log, states and pictures into the folder ``digits`` below the current one. A hundred epochs take some ten
seconds and give blobs; a thousand give strokes.
"""

import sys
from pathlib import Path

import numpy as np

import ganbench

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
FOLDER = Path("digits")

ganbench.train("numpy", preset="mnist-mlp", epochs=EPOCHS // 2, output=FOLDER / "begun")
ganbench.train("torch", epochs=EPOCHS, resume=FOLDER / "begun" / "state.npz", output=FOLDER / "finished")

trained = ganbench.load_state(FOLDER / "finished" / "state.npz")
generator = trained.gan.generator
noise = np.random.default_rng(1).standard_normal((1, trained.spec.z_dim))
image = ganbench.generate(trained.spec, generator.params, generator.running, noise).reshape(28, 28)
for line in image[::2]:
    print("".join(" .:+#@"[int(5.99 * value)] for value in line))
print(f"{trained.step} iterations; pictures are in {FOLDER / 'finished'}")
