"""The packages: all below ganbench/, and those below backends/ under the name ganbench.backends.

pyproject.toml says everything else; it can list packages or find them, and here is one of each.
"""

from setuptools import find_packages, setup

backends = [f"ganbench.{name}" for name in find_packages(include=["backends", "backends.*"])]
setup(packages=[*find_packages(include=["ganbench", "ganbench.*"]), *backends])
