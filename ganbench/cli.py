"""The command line: arguments in, one clear message or table out. Heavy imports wait inside the commands."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import GanbenchError, UsageError

if TYPE_CHECKING:
    from .comparison import Comparison
    from .gan import GANSpec

FORMATS = ("table", "markdown", "csv", "json")
Command = Callable[..., Any]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ganbench")
def cli() -> None:
    """Which framework, in which mode, runs the matrix work of your GAN fastest on this machine?

    Results are verified against a float64 oracle before anything is timed. Start with:

    \b
      ganbench list
      ganbench compare --backends numpy,torch,jax
    """


def model_options(command: Command) -> Command:
    """Add the options that describe what is computed, and on what."""
    options = [
        click.option("--backends", default="numpy,torch,jax", show_default=True, metavar="TARGETS",
                     help="Targets backend[.mode][@device], separated by commas."),
        click.option("--devices", default="", metavar="LIST", help="cpu, cuda, cuda:1, ...: multiplies the backends."),
        click.option("--ops", default="", metavar="LIST", help="Operations, or 'all'.  [default: five; see 'list']"),
        click.option("--preset", default="mnist-mlp", show_default=True, metavar="NAME", help="A model; see 'list'."),
        click.option("--model", type=click.Path(path_type=Path), metavar="FILE", help="A model from a TOML file."),
        click.option("--generator", metavar="WIDTHS", help="A model's generator, such as 64,256,784."),
        click.option("--discriminator", metavar="WIDTHS", help="Its discriminator, such as 784,128,1."),
        click.option("--batch", type=int, metavar="N", help="Batch size, instead of the model's own."),
        click.option("--dtype", default="float32", show_default=True, metavar="NAME", help="float32 or float64."),
        click.option("--threads", type=int, metavar="N", help="Threads of every framework.  [default: all cores]"),
        click.option("--data", type=click.Path(path_type=Path), metavar="PATH",
                     help="IDX (.gz), .npy or .npz images.  [default: UCI handwritten digits]"),
        click.option("--timeout", default=120.0, show_default=True, metavar="SECONDS",
                     help="Longest wait for one answer of a worker."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@cli.command()
@model_options
@click.option("--baseline", metavar="TARGET", help="What ratios are taken against.  [default: the first]")
@click.option("--rigor", default="quick", show_default=True, metavar="quick|full", help="How much care is taken.")
@click.option("--rounds", default=0, metavar="N", help="Exactly N rounds.  [default: until precise or out of budget]")
@click.option("--budget", type=float, metavar="SECONDS", help="Time for rounds.  [default: 84 quick, 300 full]")
@click.option("--format", "form", default="table", show_default=True, type=click.Choice(FORMATS))
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the report here.")
@click.option("--results", default="results", show_default=True, type=click.Path(path_type=Path), metavar="DIR",
              help="Folder that keeps every run.")  # fmt: skip
@click.option("--machine", metavar="NAME", help="Folder name below it.  [default: named by the hardware]")
def compare(form: str, output: Path | None, results: Path, machine: str | None, **options: Any) -> None:
    """Compare targets: verify them, time them side by side, print a table, keep the run."""
    from .report.export import render

    if output is not None and not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: the folder {output.parent} does not exist")
    plan = _plan(options)
    comparison = _carry_out(plan, results, machine)
    text = render(comparison, form)
    if output is None:
        sys.stdout.write(text)
    else:
        _write(output, text)
    _say(f"kept in {comparison.path}")
    _conclude(comparison)


@cli.command()
@model_options
def verify(**options: Any) -> None:
    """Run the gate alone: the relative error of every group of outputs, against the float64 oracle."""
    from .records import Measurement

    comparison = _carry_out(_plan({**options, "timed": False}), None, None)
    lines: list[tuple[str, ...]] = [("operation", "target", "outputs", "after", "error", "tolerance", "status")]
    failed = False
    for record in comparison.records:
        if not isinstance(record, Measurement):
            continue
        failed |= record.status in ("invalid", "failed", "timeout", "out of memory")
        about = (record.operation, record.target)
        check = record.verification
        if check is not None:
            for entry in check.errors:
                status = "invalid" if entry.error > check.tolerance else "ok (loose)" if check.loose else "ok"
                numbers = (str(entry.iterations), f"{entry.error:.1e}", f"{check.tolerance:.0e}")
                lines.append((*about, entry.group, *numbers, status))
        if record.status != "ok":
            lines.append((*about, "", "", "", "", f"{record.status}: {record.reason}"))
    _columns(lines)
    if comparison.ended == "interrupted":
        sys.exit(130)
    if failed or len(lines) == 1:
        sys.exit(1)


@cli.command("list")
def list_command() -> None:
    """Show backends, modes, devices, operations and presets, and why something is missing."""
    from .report.listing import listing

    click.echo(listing(), nl=False)


@cli.command()
def doctor() -> None:
    """Examine this machine: hardware, versions, BLAS, threads, and what may disturb timing."""
    from .report.doctor import examination

    for line in examination():
        click.echo(line)


def _plan(options: dict[str, Any]) -> Any:
    from .operations import DEFAULT_OPERATIONS, OPERATIONS
    from .plan import make_plan

    spec = _spec(options)
    ops = options.pop("ops").strip()
    options["ops"] = OPERATIONS if ops == "all" else ops or DEFAULT_OPERATIONS
    options["timeout_s"] = options.pop("timeout")
    if "budget" in options:
        options["budget_s"] = options.pop("budget")
    return make_plan(spec, **options)


def _spec(options: dict[str, Any]) -> "GANSpec":
    """Return the model that the options describe, taking its options out of ``options``."""
    import msgspec

    from .gan import GANSpec, preset, read_spec

    name, model, batch = options.pop("preset"), options.pop("model"), options.pop("batch")
    widths = {role: options.pop(role) for role in ("generator", "discriminator")}
    changes: dict[str, Any] = {} if batch is None else {"batch": batch}
    if any(widths.values()):
        if model or not all(widths.values()):
            raise UsageError("a model is either --model FILE, or --generator and --discriminator together")
        made: dict[str, Any] = {role: _widths(role, text) for role, text in widths.items()}
        return GANSpec(**{"batch": 128, **changes, **made})
    spec = read_spec(model) if model else preset(name)
    return msgspec.structs.replace(spec, **changes)


def _widths(role: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--{role} '{text}' is not valid: integers separated by commas, such as 64,256,784") from None


def _carry_out(plan: Any, results: Path | None, machine: str | None) -> "Comparison":
    from .comparison import carry_out

    if not sys.stderr.isatty():
        return carry_out(plan, results, machine, lambda share, text: None)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        return carry_out(
            plan, results, machine, lambda share, text: bar.update(task, completed=share, description=text)
        )


def _conclude(comparison: "Comparison") -> None:
    """Say what went wrong, and leave with the exit code for it."""
    if comparison.ended == "interrupted":
        _say("interrupted: the table shows what was measured until then")
        sys.exit(130)
    if comparison.ended not in ("complete", "precision", "budget"):
        _say(comparison.ended)
        sys.exit(1)
    if not (comparison.to_pandas()["status"] == "ok").any():
        _say("nothing was measured: every row says why")
        sys.exit(1)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _columns(lines: list[tuple[str, ...]]) -> None:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    for line in lines:
        click.echo("  ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]]).rstrip())


def _say(text: str) -> None:
    click.echo(f"ganbench: {text}", err=True)


def main() -> None:
    """Run the command line; errors of ours are one line and exit code 2 (usage) or 1."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except UsageError as error:
        _say(str(error))
        sys.exit(2)
    except GanbenchError as error:
        _say(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
