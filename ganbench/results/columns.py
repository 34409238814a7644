"""The columns of the DataFrame, each declared once: everything that reads, shows or explains one takes it from here."""

from typing import Literal, NamedTuple

DTYPES = {"text": "string", "number": "float64", "count": "Int64", "flag": "boolean"}  # pandas' own


class Column(NamedTuple):
    """One column: its type, the unit of its values, its heading in a printed table, and what it means.

    ``heading`` is '' where no table of its own shows it.
    """

    name: str
    type: Literal["text", "number", "count", "flag", "time", "samples"]
    unit: str
    heading: str
    meaning: str


_DECLARED = (
    Column("run_id", "text", "", "run", "the id of the run, which is also the name of its file"),
    Column("timestamp", "time", "time", "measured", "when the run began"),
    Column("machine", "text", "", "machine", "the machine's name"),
    Column("hardware", "text", "", "", "its processors and GPUs; of one name, other hardware is another machine"),
    Column("source", "text", "", "measured by", "the tool: `compare`, `asv`, or `count` (`compare --count`: no times)"),
    Column("operation", "text", "", "operation", "the operation that was computed"),
    Column("backend", "text", "", "", "the first part of the target"),
    Column("mode", "text", "", "", "the second part of the target: how the framework is used"),
    Column("device", "text", "", "", "where it was computed: `cpu`, `cuda`, `cuda:1`"),
    Column("target", "text", "", "target", "backend, mode and device, without those that are the default"),
    Column("dtype", "text", "", "dtype", "the type of the arrays, such as `float32`"),
    Column("precision", "text", "", "precision", "the kind of arithmetic, such as `ieee` or `tf32`"),
    Column("caches", "text", "", "caches", "`warm`, or `cold`: the caches' content is displaced before each call"),
    Column("preset", "text", "", "", "the model's name as it was given"),
    Column("model", "text", "", "model", "that name, and the differences from the preset of that name"),
    Column("widths", "text", "", "", "the widths of the model's generator / discriminator"),
    Column("data", "text", "", "data", "the real data, as it was named"),
    Column("data_digest", "text", "", "", "the hash of the data's content, by which data is compared"),
    Column("shape", "text", "", "shape", "all sizes that determine the work"),
    Column("batch", "count", "", "batch", "the rows of a batch; empty if the operation has no batch"),
    Column("critic_steps", "count", "", "critic_steps", "steps on D in an iteration; empty for losses with one step"),
    Column("threads", "count", "", "threads", "the threads of every framework"),
    Column("status", "text", "", "status", "`ok`, or why there is no time: `failed`, `unavailable`, ..."),
    Column("reason", "text", "", "reason", "the reason of the status, or a remark on the row"),
    Column("median_s", "number", "seconds", "time", "the typical time of one iteration"),
    Column("ci_low_s", "number", "seconds", "", "the lower end of its 95 % interval"),
    Column("ci_high_s", "number", "seconds", "", "the upper end"),
    Column("undisturbed_s", "number", "seconds", "", "from the tenth percentile of each round, not its mean"),
    Column("iqr_s", "number", "seconds", "", "the interquartile range of the samples"),
    Column("latency_s", "number", "seconds", "one call", "the time of a single call, until its result is there"),
    Column("device_s", "number", "seconds", "between events", "of one iteration, by the device's own clock"),
    Column("baseline", "text", "", "baseline", "the target that `ratio` is relative to"),
    Column("ratio", "number", "ratio", "speed", "speed relative to the baseline: more than 1 is faster"),
    Column("ratio_low", "number", "ratio", "", "the lower end of its 95 % interval"),
    Column("ratio_high", "number", "ratio", "", "the upper end"),
    Column("verdict", "text", "", "verdict", "`faster`, `slower`, `same`, `undecided`, `control failed` or `baseline`"),
    Column("detectable", "number", "share", "", "the smallest difference that would have been found"),
    Column("rounds", "count", "", "rounds", "the number of rounds in which it was timed"),
    Column("number", "count", "", "", "iterations in a visit"),
    Column("samples", "samples", "", "", "seconds per iteration of every visit"),
    Column("instructions", "number", "instructions", "instructions", "of one iteration, by `compare --count`"),
    Column("instructions_spread", "number", "share", "", "how far the counts of one process lie apart"),
    Column("import_s", "number", "seconds", "import", "seconds until the framework was imported"),
    Column("prepare_s", "number", "seconds", "prepare", "seconds of preparing, for example of compiling"),
    Column("first_run_s", "number", "seconds", "first run", "seconds of the first call after preparing"),
    Column("first_call_s", "number", "seconds", "", "preparing and first call, compile cache empty"),
    Column("first_call_warm_s", "number", "seconds", "warm cache", "preparing and first call, compile cache filled"),
    Column("compile_s", "number", "seconds", "", "seconds of the first call minus those of its work"),
    Column("flops", "count", "", "", "the least FLOP of an iteration"),
    Column("bytes", "count", "bytes", "needs", "every input of an iteration read once, every output written once"),
    Column("gflops", "number", "GFLOP/s", "", "`flops` divided by `median_s`"),
    Column("percent_of_ceiling", "number", "%", "ceiling", "of what the hardware can do with `flops` and `bytes`"),
    Column("bound", "text", "", "", "what limits the hardware there: `compute` or `memory`"),
    Column("percent_of_floor", "number", "%", "", "the time of the matrix products alone, as a share of `median_s`"),
    Column("max_rel_error", "number", "", "", "the largest relative error in the verification"),
    Column(
        "import_bytes", "number", "bytes", "after import",
        "the memory of the process after the framework was imported",
    ),
    Column(
        "host_peak_bytes", "number", "bytes", "peak above",
        "the peak during preparing (compiling), first run and warm-up, minus the memory of the process before "
        "(framework, inputs, operations prepared earlier). In the first round",
    ),
    Column(
        "device_peak_bytes", "number", "bytes", "device peak",
        "the same for the framework's own allocator on a GPU. JAX cannot reset its peak: there it is the peak of the "
        "process so far",
    ),
    Column("steady", "flag", "", "", "whether the times were steady after the warm-up"),
    Column("uneven", "flag", "", "", "whether the undisturbed speed lies outside the interval"),
    Column("cores", "number", "", "", "processor time of the target and its processes over wall time, in the visits"),
    Column("steal", "number", "share", "", "processor time taken by the host, of all cores, divided by wall time"),
    Column("sm_mhz", "number", "MHz", "clock", "the clock of a GPU's multiprocessors"),
    Column("throttled", "number", "share", "held down", "the share of visits with a lowered clock"),
    Column("joules", "number", "joules", "per iteration", "energy of an iteration, the device's idle power included"),
    Column("joules_low", "number", "joules", "", "the lower end of its 95 % interval"),
    Column("joules_high", "number", "joules", "", "the upper end"),
    Column("joules_above_idle", "number", "joules", "above idle", "the same minus the energy of the idle device"),
    Column("watts", "number", "W", "power", "the mean power during the calls"),
    Column("idle_w", "number", "W", "", "the power of the device when every worker is stopped"),
    Column("control_ratio", "number", "ratio", "", "the baseline against its second copy"),
    Column("control_low", "number", "ratio", "", "the lower end of its 95 % interval"),
    Column("control_high", "number", "ratio", "", "the upper end"),
    Column("denormals", "text", "", "", "`kept` or `flushed` by the framework's Adam"),
    Column("framework_version", "text", "", "", "the version of the backend's framework"),
    Column("commit", "text", "", "commit", "the git commit of ganbench"),
    Column("dirty", "flag", "", "", "whether the code had uncommitted changes"),
)  # fmt: skip
DECLARED = {column.name: column for column in _DECLARED}
COLUMNS = list(DECLARED)


def unit_of(name: str) -> str:
    """Return the unit of a column, also of a report's own, whose name ends as those here do; '' of another."""
    column = DECLARED.get(name)
    return column.unit if column else "seconds" if name.endswith("_s") else ""


def document() -> str:
    """Return the table of all columns in docs/columns.md."""
    lines = ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{c.name}` | {c.type} | {c.unit} | {c.meaning} |" for c in _DECLARED)])
