"""Recordings as data: what a WAV file may be, and what is said of one that cannot be read."""

import struct

import numpy as np
import pytest
from msgspec.structs import replace

from ganbench.data import sound, unread
from ganbench.gan import preset

SPEAKER = replace(preset("speech"), batch=8)


def wav(path, samples, rate=sound.RATE):
    from scipy.io import wavfile

    wavfile.write(path, rate, samples)
    return path


def tone(n, rate=sound.RATE, hertz=440):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)


def test_wav_round_trip(tmp_path):
    frames = tone(4 * 1024).reshape(4, 1024)
    (tmp_path / "a.wav").write_bytes(sound.wav_bytes(frames))
    assert np.allclose(sound.load_recordings(SPEAKER, tmp_path).frames, frames, atol=1 / 32767)


@pytest.mark.parametrize(
    "encode",
    [
        lambda x: (x * 32767).astype(np.int16),
        lambda x: (x * 2147483647).astype(np.int32),
        lambda x: np.round(x * 127 + 128).astype(np.uint8),
        lambda x: x.astype(np.float32),
        lambda x: x,
        lambda x: np.stack([1.5 * x, 0.5 * x], axis=1).astype(np.float32),
    ],
    ids=["16 bit", "32 bit", "8 bit", "float32", "float64", "stereo"],
)
def test_encodings(tmp_path, encode):
    heard = sound.read_wav(wav(tmp_path / "a.wav", encode(tone(3000))))
    assert np.allclose(heard, tone(3000), atol=0.01)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_rates(tmp_path, rate):
    heard = sound.read_wav(wav(tmp_path / "a.wav", tone(rate, rate).astype(np.float32), rate))
    assert len(heard) == sound.RATE
    inside = slice(500, -500)  # the filter has nothing to go by beyond the ends
    assert np.allclose(heard[inside], tone(sound.RATE)[inside], atol=0.01)


def test_silence_and_ends_are_left_out(tmp_path):
    (tmp_path / "below").mkdir()
    wav(tmp_path / "below" / "a.WAV", np.concatenate([tone(2048), np.zeros(1024), 1e-3 * tone(1024), tone(600)]))
    wav(tmp_path / "b.wav", 0.4 * tone(1024))
    read = sound.load_recordings(SPEAKER, tmp_path)
    assert (read.frames.shape, read.files, read.silent) == ((3, 1024), 2, 2)
    assert np.allclose(read.frames[0], 0.4 * tone(1024))  # b.wav stands before below/a.WAV


def test_bad_recordings(ganbench_cli, tmp_path):
    def refused(*arguments):
        given = ("--backend", "numpy", "--epochs", "1", "--output", tmp_path / "out", "--data", folder)
        code, out, errors = ganbench_cli("train", "--threads", 1, *given, *(arguments or ("--preset", "speech")))
        assert (code, out) == (2, ""), errors
        assert "Traceback" not in errors
        assert not (tmp_path / "out").exists()
        return " ".join(errors.split())

    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "notes.txt").write_text("no sound")
    assert f"data {folder}: holds no .png, .jpg or .wav file" in refused()
    path = folder / "a.wav"
    path.write_bytes(b"RIFF and nothing more")
    assert f"data {path}: is not a WAV file: it begins with b'RIFF'" in refused()
    whole = wav(tmp_path / "whole.wav", tone(5000)).read_bytes()
    path.write_bytes(whole[:20_000])
    assert f"data {path}: is cut short: its header names 40000 bytes of samples, the file holds 19942" in refused()
    path.write_bytes(whole[:20] + (7).to_bytes(2, "little") + whole[22:])  # µ-law
    assert f"data {path}: is not a WAV file that can be read" in refused()
    wav(path, tone(5000), 16_001)
    assert "its rate of 16001 Hz has no ratio of small integers to 16000 Hz" in refused()
    wav(path, np.full(5000, np.nan))
    assert "holds samples that are not finite" in refused()
    wav(path, 20_000 * tone(5000))
    assert "its values run from -" in refused()
    assert "floating point sound must lie in [-1, 1]" in refused()
    wav(path, np.zeros(0, np.int16))
    assert f"data {path}: holds no samples" in refused()
    path.write_bytes(whole[:22] + bytes(2) + whole[24:])
    assert f"data {path}: its header names 0 channels" in refused()
    path.write_bytes(whole[:36])
    assert f"data {path}: has no data chunk" in refused()
    wav(path, np.zeros(5000))
    assert "holds no frame of 1024 samples at 16,000 Hz with any sound in it" in refused()
    wav(path, tone(3000))
    assert "2 rows of data do not fill a batch of 128: pass --batch 2 or less" in refused()
    assert "sound lies in [-1, 1], but this generator ends in 'sigmoid'" in refused("--preset", "tiny")


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_what_was_written_to_a_pipe_ends_where_the_file_ends(tmp_path, order, size):
    samples = (tone(3000) * 32767).astype(np.int16)
    letters, mark = (b"RIFF", "<") if order == "little" else (b"RIFX", ">")
    about = struct.pack(f"{mark}IHHIIHH", 16, 1, 1, sound.RATE, 2 * sound.RATE, 2, 16)
    told = size.to_bytes(4, order)
    content = letters + told + b"WAVEfmt " + about + b"data" + told + samples.astype(f"{mark}i2").tobytes()
    (tmp_path / "a.wav").write_bytes(content + b"x")  # half a sample, as a pipe that broke leaves it
    assert np.allclose(sound.read_wav(tmp_path / "a.wav"), tone(3000), atol=1e-4)


def test_hidden_files_are_counted_and_not_read(tmp_path):
    wav(tmp_path / "a.wav", tone(2048))
    (tmp_path / "._a.wav").write_bytes(b"what macOS leaves beside a file on another system's disk")
    read = sound.load_recordings(SPEAKER, tmp_path)
    assert read.files == 1
    assert unread(tmp_path) == "not read: 1 hidden files"
