"""Train a GAN on frames of speech, and write what it makes as a WAV file.

    python examples/train_speech.py [folder of WAV files]

Without a folder it takes the two short recordings beside this file, spoken by a program: enough to see every
step, far too little to learn speech from. It writes into the folder ``spoken`` below the current one.
"""

import sys
from pathlib import Path

from msgspec.structs import replace

import ganbench
from ganbench.data.sound import load_recordings

FOLDER = Path("spoken")

data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "speech"
recordings = load_recordings(ganbench.PRESETS["speech"], data)
print(recordings.describe())

spec = replace(ganbench.PRESETS["speech"], batch=min(128, len(recordings.frames) // 2))
ganbench.train("torch", spec=spec, data=data, iterations=300, output=FOLDER)
print(f"listen to {FOLDER / 'samples.wav'}, and look at {FOLDER / 'samples.png'}")
