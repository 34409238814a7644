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
    Column("run_id", "text", "", "run", "the run, which is also the name of its file"),
    Column("timestamp", "time", "time", "measured", "when the run began"),
    Column("machine", "text", "", "machine", "the machine's name"),
    Column("source", "text", "", "measured by", "the tool: `compare` or `asv`"),
    Column("operation", "text", "", "operation", "what was computed"),
    Column("backend", "text", "", "", "the first part of the target"),
    Column("mode", "text", "", "", "how the backend runs it"),
    Column("device", "text", "", "", "where: `cpu`, `cuda`, `cuda:1`"),
    Column("target", "text", "", "target", "backend, mode and device, without those that are the default"),
    Column("dtype", "text", "", "dtype", "the type of the numbers"),
    Column("precision", "text", "", "precision", "the arithmetic on them, such as `ieee` or `tf32`"),
    Column("caches", "text", "", "caches", "`warm`, or `cold`: displaced before each call"),
    Column("preset", "text", "", "", "the model's name as it was given"),
    Column("model", "text", "", "model", "that name, and in what the model differs from the preset of that name"),
    Column("widths", "text", "", "", "the widths of the model's generator / discriminator"),
    Column("data", "text", "", "data", "the real data, as it was named"),
    Column("data_digest", "text", "", "", "of what that data holds, by which it is compared"),
    Column("shape", "text", "", "shape", "all sizes that determine the work"),
    Column("batch", "count", "", "batch", "the rows that go through at once; empty where there are none"),
    Column("critic_steps", "count", "", "critic_steps", "steps on D in an iteration; empty where the loss has none"),
    Column("threads", "count", "", "threads", "of every framework"),
    Column("status", "text", "", "status", "`ok`, or why there is no time: `failed`, `unavailable`, ..."),
    Column("reason", "text", "", "reason", "the status in full, or what else must be known of a row"),
    Column("median_s", "number", "seconds", "time", "seconds of one iteration, the median over rounds"),
    Column("ci_low_s", "number", "seconds", "", "the lower end of its interval"),
    Column("ci_high_s", "number", "seconds", "", "the upper end"),
    Column("undisturbed_s", "number", "seconds", "", "the same of each round's lower visits"),
    Column("iqr_s", "number", "seconds", "", "the interquartile range of the samples"),
    Column("latency_s", "number", "seconds", "one call", "of one call that is waited for alone"),
    Column("device_s", "number", "seconds", "between events", "of calls in a row, on the device's own clock"),
    Column("baseline", "text", "", "baseline", "the target that `ratio` is relative to"),
    Column("ratio", "number", "ratio", "speed", "speed relative to the baseline: more than 1 is faster"),
    Column("ratio_low", "number", "ratio", "", "the lower end of its interval"),
    Column("ratio_high", "number", "ratio", "", "the upper end"),
    Column("verdict", "text", "", "verdict", "`faster`, `slower`, `same`, `undecided`, `control failed` or `baseline`"),
    Column("detectable", "number", "share", "", "the smallest difference that the rounds can tell"),
    Column("rounds", "count", "", "rounds", "in how many it was timed"),
    Column("number", "count", "", "", "iterations in a visit"),
    Column("samples", "samples", "", "", "seconds per iteration of every visit"),
    Column("import_s", "number", "seconds", "import", "seconds until the framework was imported"),
    Column("prepare_s", "number", "seconds", "prepare", "seconds of preparing, such as compiling"),
    Column("first_run_s", "number", "seconds", "first run", "seconds of the first call after that"),
    Column("first_call_s", "number", "seconds", "", "both of these, the compile cache empty"),
    Column("first_call_warm_s", "number", "seconds", "warm cache", "both of these, the compile cache filled"),
    Column("compile_s", "number", "seconds", "", "what the first call took beyond its work"),
    Column("flops", "count", "", "", "the least FLOP of an iteration"),
    Column("bytes", "count", "bytes", "needs", "every input of an iteration read once, every output written once"),
    Column("gflops", "number", "GFLOP/s", "", "`flops` over `median_s`"),
    Column("percent_of_ceiling", "number", "%", "ceiling", "of what the hardware can do at these `flops` and `bytes`"),
    Column("bound", "text", "", "", "what limits that: `compute` or `memory`"),
    Column("percent_of_floor", "number", "%", "", "that the matrix products alone are of an iteration"),
    Column("max_rel_error", "number", "", "", "the largest error that verification found"),
    Column(
        "import_bytes", "number", "bytes", "after import",
        "of the process that were in memory once the framework was imported",
    ),
    Column(
        "host_peak_bytes", "number", "bytes", "peak above",
        "the most that preparing (compiling), the first run and the warm-up took, above what the process held before: "
        "the framework, the inputs, operations prepared earlier. Of all rounds the most",
    ),
    Column(
        "device_peak_bytes", "number", "bytes", "device peak",
        "the same of the framework's own allocator on a GPU. JAX cannot forget its peak: there it is that of the "
        "process so far",
    ),
    Column("steady", "flag", "", "", "whether the times had settled"),
    Column("uneven", "flag", "", "", "whether the undisturbed speed lies outside the interval"),
    Column("cores", "number", "", "", "processor time over wall time"),
    Column("steal", "number", "share", "", "processor time that the host took, of all cores, over wall time"),
    Column("sm_mhz", "number", "MHz", "clock", "the clock of a GPU's multiprocessors"),
    Column("throttled", "number", "share", "held down", "of the visits, those with that clock held down"),
    Column("joules", "number", "joules", "per iteration", "energy of an iteration, all that its device used"),
    Column("joules_low", "number", "joules", "", "the lower end of its interval"),
    Column("joules_high", "number", "joules", "", "the upper end"),
    Column("joules_above_idle", "number", "joules", "above idle", "what an idle device would not have used"),
    Column("watts", "number", "W", "power", "the mean power meanwhile"),
    Column("idle_w", "number", "W", "", "that of the device when every worker is stopped"),
    Column("control_ratio", "number", "ratio", "", "the baseline against its second copy"),
    Column("control_low", "number", "ratio", "", "the lower end of its interval"),
    Column("control_high", "number", "ratio", "", "the upper end"),
    Column("denormals", "text", "", "", "`kept` or `flushed` by the framework's Adam"),
    Column("framework_version", "text", "", "", "of the backend's framework"),
    Column("commit", "text", "", "commit", "of the code that was measured"),
    Column("dirty", "flag", "", "", "whether it differed from the commit"),
)  # fmt: skip
DECLARED = {column.name: column for column in _DECLARED}
COLUMNS = list(DECLARED)


def unit_of(name: str) -> str:
    """Return the unit of a column, also of a report's own, whose name ends as those here do; '' of another."""
    column = DECLARED.get(name)
    return column.unit if column else "seconds" if name.endswith("_s") else ""


def document() -> str:
    """Return the table of all columns in docs/reports.md."""
    lines = ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{c.name}` | {c.type} | {c.unit} | {c.meaning} |" for c in _DECLARED)])
