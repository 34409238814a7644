"""``ganbench`` as the child of a worker, with which it dies. Arguments: the worker's number, and those of ganbench."""

import runpy
import sys

from ..launch import die_with

die_with(int(sys.argv.pop(1)))
runpy.run_module("ganbench.cli", run_name="__main__", alter_sys=True)
