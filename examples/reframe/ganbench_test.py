"""A test for ReFrame: which framework is fastest on each of your systems, with intervals.

    pip install reframe-hpc
    reframe -c examples/reframe/ganbench_test.py -r --performance-report

ReFrame starts it on every partition of your own configuration (``-C``), and on every node with ``--distribute``; each
needs ``ganbench`` on its path. Other frameworks: ``-S GanbenchTest.backends=torch,jax``.
A speed that must not fall is a reference: see ReFrame's manual.
"""

import json
from pathlib import Path

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.builtins import parameter, run_after, run_before, sanity_function, variable

HARMLESS = ("ok", "unavailable", "unsupported")


@rfm.simple_test
class GanbenchTest(rfm.RunOnlyRegressionTest):
    """One comparison; the speeds of every framework relative to the baseline are its performance."""

    descr = "matrix work of a GAN: speed of each framework relative to the first"
    valid_systems = ["*"]  # noqa: RUF012, this is how ReFrame has it
    valid_prog_environs = ["*"]  # noqa: RUF012
    executable = "ganbench"
    time_limit = "10m"
    exclusive_access = True
    preset = parameter(["mnist-mlp"])
    backends = variable(str, value="numpy,torch,jax")
    ops = variable(str, value="gan_iteration")
    more = variable(str, value="--rigor quick")  # further options of ganbench compare

    @run_after("init")
    def ask(self):
        self.executable_opts = [
            "compare", f"--backends {self.backends}", f"--preset {self.preset}", f"--ops {self.ops}", self.more,
            "--format json", "--results results", "> rows.json",
        ]  # fmt: skip
        self.keep_files = ["results"]

    @sanity_function
    def every_result_was_verified(self):
        """Fail where a framework failed or its numbers were wrong; one that is not installed is no failure."""
        return sn.all([sn.assert_in(row["status"], HARMLESS, row["reason"]) for row in self.rows()])

    @run_before("performance")
    def read(self):
        for row in self.rows():
            for name in ("ratio_low", "ratio", "ratio_high"):
                if row[name] is not None and row["verdict"] != "baseline":
                    self.perf_variables[f"{row['operation']}.{row['target']}.{name}"] = sn.make_performance_function(
                        sn.defer(row[name]), f"x {row['baseline']}"
                    )

    def rows(self):
        return json.loads(Path(self.stagedir, "rows.json").read_text())
