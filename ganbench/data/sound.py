"""Sound as real data: a folder of WAV files cut into frames, and generated frames written as one.

Every recording is brought to one rate, mixed down to mono and cut into frames of the model's width.
Frames nearly silent beside the loudest are left out: a GAN that saw many of them would learn silence.
"""

import io
import math
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..errors import DataError, refused, require
from ..gan import GANSpec
from ..layers import weighted
from .folders import files_below, left_below

SUFFIXES = (".wav",)
RATE = 16_000  # Hz; what most speech corpora are published at
SILENCE = 0.01  # a frame is left out below this share (-40 dB) of the loudest frame's root mean square
LARGEST_FACTOR = 1000  # resampling by a ratio of larger integers takes a filter longer than a frame
UNKNOWN_SIZE = 0xFFFFFFFF  # in the header of what was written to a pipe
FULL_SCALE = {np.dtype(np.uint8): 2.0**7, np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


class Recordings(NamedTuple):
    """Frames (n, width) in [-1, 1], and where they come from."""

    frames: np.ndarray
    files: int
    seconds: float
    silent: int

    def describe(self) -> str:
        """Return in one line what was read."""
        n, width = self.frames.shape
        return (
            f"{self.files} recordings, {self.seconds:.1f} s at {RATE:,} Hz: {n:,} frames of {width} samples; "
            f"{self.silent} nearly silent ones are left out"
        )


def load_recordings(spec: GANSpec, folder: Path) -> Recordings:
    """Return the frames of every WAV file in ``folder`` and below, in the order of their names.

    Hidden files are left out: some systems put one, which holds no sound, beside each recording.
    Files may be of 8, 16, 24 or 32 bits or floating point, with any number of channels, at any rate that
    has a ratio of small integers to ``RATE``. What is left of a file after its last whole frame is dropped.

    Raises ``DataError`` naming file and fault.
    """
    require("train", "a folder of WAV files", "scipy")
    paths = files_below(folder, SUFFIXES)
    if not paths:
        left = left_below(folder, SUFFIXES)
        raise DataError(f"data {folder}: holds no .png, .jpg or .wav file" + f" ({left})" * bool(left))
    if spec.data_range != (-1.0, 1.0):
        raise DataError(
            f"data {folder}: sound lies in [-1, 1], but this generator ends in "
            f"'{weighted(spec.generator_layers)[-1].activation}': take --preset speech, or a model that ends in tanh"
        )
    width, samples, cut = spec.img_dim, 0, []
    for path in paths:
        try:
            sound = read_wav(path)
        except DataError as error:
            raise DataError(f"data {path}: {error}") from error
        samples += len(sound)
        whole = len(sound) // width
        cut.append(sound[: whole * width].reshape(whole, width))
    frames = np.concatenate(cut)
    loudness = np.sqrt((frames**2).mean(axis=1))
    heard = loudness > SILENCE * loudness.max(initial=0)
    if not heard.any():
        raise DataError(f"data {folder}: holds no frame of {width} samples at {RATE:,} Hz with any sound in it")
    return Recordings(frames[heard], len(paths), samples / RATE, int((~heard).sum()))


def read_wav(path: Path) -> np.ndarray:
    """Return a WAV file as mono float64 in [-1, 1] at ``RATE``; raises ``DataError`` without the file's name."""
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    with refused(DataError, "cannot be read"):
        content = path.read_bytes()
    whole = _whole(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of chunks that hold no sound
        try:
            rate, samples = wavfile.read(io.BytesIO(whole))
        except Exception as error:  # damage surfaces as anything: ValueError, struct.error, UnboundLocalError
            raise DataError(
                "is not a WAV file that can be read: valid are PCM of 8 to 32 bits and floating point numbers"
            ) from error
    native = samples.dtype.newbyteorder("=")
    if native.kind == "f":
        sound = samples.astype(np.float64)
        if not np.isfinite(sound).all():
            raise DataError("holds samples that are not finite")
        if sound.size and not -1 <= sound.min() <= sound.max() <= 1:
            raise DataError(
                f"its values run from {sound.min():.6g} to {sound.max():.6g}: floating point sound must lie in "
                "[-1, 1]; divide it by its full scale first, such as 32768 where it was made from 16 bits"
            )
    elif native in FULL_SCALE:
        sound = samples / FULL_SCALE[native] - (native == np.uint8)
    else:
        raise DataError(f"holds samples of {8 * native.itemsize} bits: valid are 8 to 32 and floating point numbers")
    if sound.ndim == 2:
        sound = sound.mean(axis=1)
    up, down = _factors(int(rate))
    if (up, down) != (1, 1) and len(sound):
        sound = resample_poly(sound, up, down)
    return np.asarray(np.clip(sound, -1, 1))  # the filter's ripple may go beyond


def _whole(content: bytes) -> bytes:
    """Return a WAV file whose header tells the size of its samples, also where a stream could not know it.

    Raises ``DataError`` for what is no WAV file, holds no samples, or is cut short.
    """
    if content[:4] == b"RF64":  # of more than 4 GiB; SciPy knows its header
        return content
    if content[:4] not in (b"RIFF", b"RIFX") or content[8:12] != b"WAVE":
        raise DataError(f"is not a WAV file: it begins with {content[:4]!r}" if content else "is empty")

    order: Literal["little", "big"] = "big" if content[:4] == b"RIFX" else "little"

    def number(start: int, width: int = 4) -> int:
        return int.from_bytes(content[start : start + width], order)

    start, frame = 12, 0  # of a chunk; bytes of one sample of all channels
    while start + 8 <= len(content):
        name, size, held = content[start : start + 4], number(start + 4), len(content) - start - 8
        if name == b"fmt ":
            channels, rate, frame = number(start + 10, 2), number(start + 12), number(start + 20, 2)
            if not (channels and rate and frame):
                raise DataError(f"its header names {channels} channels at {rate} Hz, {frame} bytes for each sample")
        elif name == b"data":
            if not frame:
                raise DataError("its samples come before their description, or have none")
            if size in (0, UNKNOWN_SIZE) and held:  # what was written to a pipe ends where the file ends
                size = held - held % frame
                riff, data = ((start + size).to_bytes(4, order), size.to_bytes(4, order))
                return content[:4] + riff + content[8 : start + 4] + data + content[start + 8 : start + 8 + size]
            if not size:
                raise DataError("holds no samples")
            if size > held:
                raise DataError(f"is cut short: its header names {size} bytes of samples, the file holds {held}")
            return content
        start += 8 + size + size % 2
    raise DataError("has no data chunk: it holds no samples")


def _factors(rate: int) -> tuple[int, int]:
    if rate > 0:
        shared = math.gcd(rate, RATE)
        up, down = RATE // shared, rate // shared
        if max(up, down) <= LARGEST_FACTOR:
            return up, down
    raise DataError(
        f"its rate of {rate} Hz has no ratio of small integers to {RATE} Hz: "
        "resample it first, to 8000, 11025, 16000, 22050, 44100 or 48000 Hz for example"
    )


def wav_bytes(frames: np.ndarray) -> bytes:
    """Return frames in [-1, 1], one after another, as a 16-bit WAV file at ``RATE``."""
    from scipy.io import wavfile

    file = io.BytesIO()
    wavfile.write(file, RATE, np.round(np.clip(frames, -1, 1).reshape(-1) * 32767).astype(np.int16))
    return file.getvalue()
