"""What a user sees of a training: some of its epochs, the cost of feeding, and where the files are."""

import statistics
from collections.abc import Callable

from ..errors import plural
from ..registry import Target
from .curves import undrawn
from .plan import Training
from .protocol import AnyMessage, Cost, Ended, Enqueued, Epoch, Started, watched
from .run import Trained

LINES = 10  # epochs shown; the log has all of them
COLUMNS = {  # heading, width and format of fields of an ``Epoch``; all others are losses
    "epoch": ("epoch", 7, ","),
    "step": ("iteration", 11, ","),
    "v": ("V(D,G)", 10, ".4f"),
    "images_per_s": ("images/s", 11, ",.0f"),
}

Show = Callable[[float, str], None]  # (share done, what is going on)


class Screen:
    """Turns the messages of trainings into lines for ``echo``, and into the state of a progress bar if there is one."""

    def __init__(self, training: Training, echo: Callable[[str], None], show: Show) -> None:
        self._training, self._echo, self._show = training, echo, show
        self._finished = 0  # targets
        self._watched = ("d_loss", "g_loss", *watched(training.spec))
        fields = ("epoch", "step", *self._watched, "images_per_s")
        self._columns = {one: COLUMNS.get(one, (one, max(10, len(one) + 2), ".4f")) for one in fields}
        self._cost: Cost | None = None
        self._epoch: Epoch | None = None
        self._shown: Epoch | None = None
        self._rates: list[float] = []

    def begin(self) -> None:
        """Print the model and the data."""
        training, plan = self._training, self._training.plan
        threads = plural(plan.threads, "thread")
        self._echo(f"{plan.spec.name} ({plan.spec.describe()}), {plan.dtype}, {threads}, seed {plan.seed}")
        self._echo(
            f"{training.note}; {training.per_epoch:,} iterations make an epoch, "
            f"{training.iterations:,} iterations are asked for"
        )
        self._show(0, "computing the reference results")

    def tell(self, target: Target, message: AnyMessage) -> None:
        """Take one message of the training on ``target``."""
        done = self._finished * self._training.iterations
        match message:
            case Started():
                self._epoch = self._shown = None
                self._rates = []
                after = f", after iteration {message.step:,}" if message.step else ""
                self._echo(f"\n{target} ({message.framework_version}, {message.device_name}){after}")
                self._echo("".join(f"{name:>{width}}" for name, width, _ in self._columns.values()))
            case Cost():
                self._cost = message
            case Enqueued():
                total = self._training.iterations * len(self._training.plan.targets)
                self._show((done + message.step) / total, self._description(target))
            case Epoch():
                self._epoch = message
                self._rates.append(message.images_per_s)
                if self._shown is None or message.step >= self._shown.step + self._training.iterations / LINES:
                    self._line(message)
            case Ended():
                if self._epoch is not None and self._epoch is not self._shown:
                    self._line(self._epoch)
                self._conclude(message)
                self._finished += 1

    def _description(self, target: Target) -> str:
        last = self._epoch
        if last is None:
            return f"{target}: training"
        losses = ", ".join(f"{self._columns[one][0]} {getattr(last, one):.2f}" for one in self._watched)
        return f"{target}, epoch {last.epoch:,}: {losses}, {last.images_per_s:,.0f} images/s"

    def _line(self, epoch: Epoch) -> None:
        self._shown = epoch
        cells = (f"{getattr(epoch, one):>{width}{form}}" for one, (_, width, form) in self._columns.items())
        self._echo("".join(cells))

    def _conclude(self, ended: Ended) -> None:
        self._echo(
            f"{ended.reason} at iteration {ended.step:,} after {ended.seconds:.1f} s, "
            f"of which saving took {ended.saving_s:.1f} s"
        )
        rows, cost = self._training.spec.real_rows, self._cost
        if cost is not None:
            alone, fed = (f"{rows / seconds:,.0f}" for seconds in (cost.alone_s, cost.fed_s))
            self._echo(
                f"gan_iteration alone: {alone} images/s; with shuffled data and noise: {fed}; "
                f"feeding costs {cost.share:.1%} [{cost.low:.1%}, {cost.high:.1%}]"
            )
        tenth = len(self._rates) // 10
        if tenth >= 3:
            first, last = (statistics.median(part) for part in (self._rates[:tenth], self._rates[-tenth:]))
            self._echo(f"the last tenth of the epochs ran at {last / first:.2f} of the speed of the first")


def conclusion(training: Training, trained: Trained) -> list[str]:
    """Return the lines to print at the end."""
    lines = [""] if trained.folders else []
    if trained.parity is not None:
        lines.append(trained.parity.describe())
    for folder in trained.folders.values():
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        lines.append(f"{folder}: {', '.join(names)}")
    if trained.parity is not None:
        lines.append(f"{training.output}: parity.png")
    if trained.folders and (doubt := undrawn(training.spec.name)):
        lines.append(f"the pictures lack letters: {doubt}")
    return lines
