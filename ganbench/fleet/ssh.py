"""Machines over SSH, by the system's own ``ssh``: it knows the user's keys, agents, ~/.ssh/config and jump hosts."""

import re
import shlex
import sys
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from ..errors import UsageError
from ..launch import APART
from .pipes import Way
from .plan import Ssh

# Nothing here begins with '-', which ssh would read as an option, nor means anything to a shell: ssh itself puts user
# and host into commands that ~/.ssh/config names.
USER = r"[A-Za-z0-9_][A-Za-z0-9._@+-]*"
HOST = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
ADDRESS = r"\[(?P<inner>[^\]]*)\]|(?P<bare>[^@]*:[^@]*:[^@]*)"  # of IPv6
PLACE = re.compile(rf"((?P<user>{USER})@)?(?P<host>{HOST}|{ADDRESS})(:(?P<port>\d+))?")
ZONE = r"[A-Za-z0-9._-]+"  # of fe80::1%eth0
FORMS = "HOST, USER@HOST, HOST:PORT, USER@HOST:PORT, an IPv6 address, [IPv6]:PORT, or a name of ~/.ssh/config"
# No question is asked, since nobody could answer it; what is in ~/.ssh/config for people to work there does not count.
OPTIONS = {
    "BatchMode": "yes", "ConnectTimeout": "20", "ServerAliveInterval": "15", "RemoteCommand": "none",
    "ClearAllForwardings": "yes",
}  # fmt: skip
# Arguments: an interpreter, or else one that is tried first; the code; the folder. It is one line for any shell.
START = APART + 'p=$1; if [ -n "$2" ]; then p=$2; [ -x "$p" ] || p=python3; fi; exec "$p" -c "$3" "$4"'
SERVE = "import sys, runpy; sys.path[:] = filter(None, sys.path); "
SERVE += 'runpy.run_module("ganbench.fleet.serve", run_name="__main__")'


class Place(NamedTuple):
    """Where ``ssh`` goes; '' is for what ~/.ssh/config says."""

    host: str
    user: str
    port: str

    @property
    def command(self) -> list[str]:
        """The options of ``ssh`` that say it."""
        return [*(["-l", self.user] if self.user else []), *(["-p", self.port] if self.port else []), "--", self.host]


def place_of(text: str) -> Place:
    """Return what a name of a host means; raises ``UsageError`` for one that is none of ``FORMS``."""
    found = PLACE.fullmatch(text)
    if found is None or not _is_port(found["port"]):
        raise UsageError(f"host {text!r} is not valid (known: {FORMS})")
    address = found["bare"] if found["inner"] is None else found["inner"]
    if address is not None and not _is_v6(address):
        raise UsageError(f"host {text!r} is not valid: {address!r} is no IPv6 address (known: {FORMS})")
    return Place(address or found["host"], found["user"] or "", found["port"] or "")


def _is_port(text: str | None) -> bool:
    return text is None or (text.isascii() and len(text) <= 5 and 1 <= int(text) <= 65_535)


def _is_v6(text: str) -> bool:
    address, percent, zone = text.partition("%")
    try:
        IPv6Address(address)
    except AddressValueError:
        return False
    return not percent or re.fullmatch(ZONE, zone) is not None


def ways(names: list[str], ssh: Ssh) -> dict[str, Way]:
    """Return how a worker is started on each host."""
    found = {}
    for name in names:
        place, own = place_of(name), ssh.hosts.get(name)
        python = (own and own.python) or ssh.python or ""
        folder = (own and own.folder) or ssh.folder or ""
        # A command begins in the home there, and a quoted ~ would not be opened; without a / it would be looked for.
        words = [re.sub("^~/", "./", python), "" if python else sys.executable, SERVE, folder]
        options = [word for key, value in OPTIONS.items() for word in ("-o", f"{key}={value}")]
        command = ["ssh", "-T", *options, *place.command, shlex.join(["sh", "-c", START, "sh", *words])]
        tried = [*place.command, python or "python3", "-m", "ganbench.cli", "--version"]
        found[name] = Way(command, shlex.join(["ssh", *tried]).replace(" -- ", " "))
    return found
