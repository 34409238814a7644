"""For every suite of this folder: Python's collector looks rarely through what frameworks hold, a sixth of the time."""

import gc

gc.set_threshold(100_000, 50, 100)
