"""The process that imports a plug-in in the place of one that asks: ``plugins._said``.

Arguments: the number of the process that asks, and those of ``plugins.answer``.
"""

import os
import sys

import msgspec

from ..errors import GanbenchError
from ..launch import channel, die_with
from .plugins import Answer, answer

stream = channel()
die_with(int(sys.argv[1]))
try:
    said = Answer(answer(*sys.argv[2:]))
except GanbenchError as error:
    said = Answer(error=str(error))
stream.write(b"\n" + msgspec.json.encode(said))  # a line of its own, whatever was printed before
stream.flush()
os._exit(0)  # whatever threads the plug-in has started
