"""A host over SSH and a cluster of SLURM, real ones, on loopback, as processes that end with a test."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from patience import LIMIT_S

NODES = 2
SSHD = """
ListenAddress 127.0.0.1
ListenAddress 127.0.0.2
ListenAddress ::1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile {folder}/pid
StrictModes no
SetEnv {settings}
"""
SLURM = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=DEFAULT CPUs=2 RealMemory=5000
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}]
PartitionName=main Nodes=ALL Default=YES State=UP
"""


def system(program):
    """Return the path of a program of the system, or None."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def free_ports(count):
    """Return ports next to one another that nobody listens on."""
    for first in range(20_000 + os.getpid() % 10_000, 32_000, count):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return list(range(first, first + count))
    raise AssertionError("no free ports")


@contextlib.contextmanager
def ssh_host(folder, settings):
    """Start a daemon of SSH; yield its port, and the variables with which ``ssh`` finds a configuration of our own.

    It knows the hosts ``near``, and ``gone`` and ``stranger``, which fail. The daemon's children are its connections.
    """
    folder = folder / "ssh"
    folder.mkdir()
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port, closed = free_ports(2)
    given = " ".join(f"{name}={value}" for name, value in settings.items())
    (folder / "conf").write_text(SSHD.format(port=port, folder=folder, settings=given))
    (folder / "config").write_text(
        f"Host near\n HostName 127.0.0.1\n Port {port}\n IdentityFile {folder}/key\n"
        f"Host gone\n HostName 127.0.0.1\n Port {closed}\n"
        f"Host stranger\n HostName 127.0.0.2\n Port {port}\n"
        f"Host 127.0.0.1 ::1\n IdentityFile {folder}/key\n"
        f"Host *\n UserKnownHostsFile {folder}/known\n"
    )
    key = (folder / "host.pub").read_text().rsplit(" ", 1)[0]
    (folder / "known").write_text("".join(f"[{address}]:{port} {key}\n" for address in ("127.0.0.1", "::1")))
    ours = folder / "bin" / "ssh"  # ssh looks for its configuration in the home that the system knows, whatever HOME is
    ours.parent.mkdir()
    ours.write_text(f'#!/bin/sh\nexec {system("ssh")} -F {folder}/config "$@"\n')
    ours.chmod(0o755)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen([system("sshd"), "-D", "-f", folder / "conf"], stderr=subprocess.DEVNULL)
    try:
        yield port, {"PATH": f"{ours.parent}:{os.environ['PATH']}"}
    finally:
        daemon.kill()
        daemon.wait()


@contextlib.contextmanager
def slurm(folder):
    """Start SLURM with nodes ``n1`` and ``n2``, both of which are this machine; yield its settings."""
    folder = folder / "slurm"
    for name in ("state", *(f"spool-n{number + 1}" for number in range(NODES))):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    ports = free_ports(1 + NODES)
    conf = folder / "slurm.conf"
    conf.write_text(SLURM.format(host=host, folder=folder, nodes=NODES, ports=ports))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    files = [f"--{name}-file={folder / name}" for name in ("pid", "log", "seed")]
    munge = [system("munged"), "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    settings = {"SLURM_CONF": str(conf)}
    with contextlib.ExitStack() as stack:
        each = [[system("slurmd"), "-D", "-N", f"n{number + 1}"] for number in range(NODES)]
        for command in ([*munge, *files], [system("slurmctld"), "-D"], *each):
            daemon = subprocess.Popen(
                command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(daemon.wait)
            stack.callback(daemon.kill)
        deadline = time.monotonic() + LIMIT_S
        while b"idle" not in asked(settings, "sinfo", "-h", "-t", "idle", "-N", "-o", "%T %D"):
            assert time.monotonic() < deadline, (folder / "slurmctld.log").read_text()
            time.sleep(0.2)
        yield settings


def asked(settings, *command):
    """Return what a command of SLURM prints."""
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True).stdout
