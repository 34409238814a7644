"""Makes the Python that starts with this folder on its path believe that its machine is odd: see the variables."""

import importlib.util
import os
import platform
import shutil
import time

if "ODD_HOST" in os.environ:
    platform.node = lambda: os.environ["ODD_HOST"]
if "ODD_CLOCK_S" in os.environ:
    clock, ahead = time.time, float(os.environ["ODD_CLOCK_S"])
    time.time = lambda: clock() + ahead
if "ODD_LACKS" in os.environ:
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *more: None if name == os.environ["ODD_LACKS"] else find(name, *more)
if "ODD_FREE" in os.environ:
    usage = shutil.disk_usage
    shutil.disk_usage = lambda path: usage(path)._replace(free=int(os.environ["ODD_FREE"]))
