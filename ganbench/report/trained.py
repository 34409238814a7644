"""The trainings below a folder: their losses, and the images that they ended with."""

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..results.records import digits
from ..training.protocol import Ended, Epoch, Started
from .escape import visible

POINTS = 200  # of a curve, which is drawn on fewer pixels than a training has epochs
LARGEST = 200_000  # bytes of a picture that goes into a page
PICTURE = "samples.png"

_line: msgspec.json.Decoder[Started | Epoch | Ended] = msgspec.json.Decoder(Started | Epoch | Ended)


class Trained(NamedTuple):
    """One training: ``losses`` are (iteration, d_loss, g_loss) by epoch."""

    name: str
    title: str
    losses: list[tuple[int, float, float]]
    picture: Path | None


def trainings(folder: Path) -> list[Trained]:
    """Return each training whose log lies below ``folder``; what is no such log is passed over."""
    files = sorted(folder.glob("**/train/*.jsonl")) + sorted(folder.glob("**/log.jsonl"))
    return [found for path in dict.fromkeys(files) if (found := _read(path, folder)) is not None]


def rows(found: list[Trained]) -> list[dict[str, Any]]:
    """Return the points of all curves."""
    return [
        {"training": one.name, "step": step, "of": name, "loss": digits(loss)}
        for one in found
        for step, *losses in one.losses
        for name, loss in zip(("loss of D", "loss of G"), losses, strict=True)
    ]


def _read(path: Path, folder: Path) -> Trained | None:
    began: Started | None = None
    losses: list[tuple[int, float, float]] = []
    with contextlib.suppress(OSError), path.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.MsgspecError):  # a line of another log
                match _line.decode(line):
                    case Started() as began:
                        pass
                    case Epoch() as epoch:
                        losses.append((epoch.step, epoch.d_loss, epoch.g_loss))
    if began is None or len(losses) < 2:
        return None
    name = visible(path.relative_to(folder).with_suffix("").as_posix())
    title = f"{began.spec.name}, {began.target} {began.framework_version}, {began.dtype}, {losses[-1][0]:,} iterations"
    every = -(-len(losses) // POINTS)
    pictures = (path.with_suffix(".png"), path.parent / PICTURE)
    picture = next((one for one in pictures if one.is_file() and one.stat().st_size <= LARGEST), None)
    return Trained(name, visible(title), losses[::-every][::-1], picture)
