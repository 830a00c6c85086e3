# SPDX-License-Identifier: Apache-2.0
"""Real launchers: four hosts as network namespaces, a Slurm of two nodes on this machine, mpirun.

They hold the table of launchers to what launchers really set. What this machine lacks is skipped
with the reason; `cmake/setup.sh distributed` installs it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import PACKAGE, SLACK, free_port, gone, until

PLACE = """
import dataclasses, json, warnings
from ostria.distribute import read_environment
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    place = dataclasses.asdict(read_environment())
place["warnings"] = [str(w.message) for w in said]
print(json.dumps(place))
"""


def needed(*programs: str) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root: it starts daemons or makes network namespaces")
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; `cmake/setup.sh distributed` does that")


def clean_environ(**more: str) -> dict[str, str]:
    foreign = ("OSTRIA_", "SLURM_", "OMPI_", "PMI", "PET_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return {**kept, "PYTHONPATH": PACKAGE, **more}


def places(text: str) -> list[dict]:
    """What ranks printed, by rank. mpirun does not keep their lines apart."""
    found, at = [], 0
    while (at := text.find("{", at)) >= 0:
        place, at = json.JSONDecoder().raw_decode(text, at)
        found.append(place)
    return sorted(found, key=lambda p: p["rank"])


def run(words: list[str], **environ: str) -> tuple[int, str, str]:
    done = subprocess.run(
        words, env=clean_environ(**environ), capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


# mpirun


def test_mpirun(tmp_path: Path) -> None:
    needed("mpirun")
    script = tmp_path / "place.py"
    script.write_text(PLACE)
    flags = ["--allow-run-as-root", "--oversubscribe", "-np", "3"]
    code, out, err = run(["mpirun", *flags, sys.executable, str(script)])
    assert code == 0, err
    found = places(out)
    assert [p["rank"] for p in found] == [p["local_rank"] for p in found] == [0, 1, 2]
    for place in found:
        assert place["launcher"] == "Open MPI" and place["warnings"] == []
        assert (place["world_size"], place["local_size"]) == (3, 3)
        assert (place["node_rank"], place["node_count"], place["rendezvous"]) == (0, 1, None)


# Slurm


class Slurm:
    """A controller and two nodes below a folder, with a munge of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen[bytes]] = []
        host = socket.gethostname()
        ports = [free_port() for _ in range(3)]
        for name in ("state", "tmp.n1", "tmp.n2"):
            (folder / name).mkdir()
        self.key, self.munge = folder / "munge.key", folder / "munge.socket"
        self.key.write_bytes(os.urandom(1024))
        self.key.chmod(0o600)
        self.conf = folder / "slurm.conf"
        self.conf.write_text(
            f"""ClusterName=ostria
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.munge}
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
TmpFS={folder}/tmp.%n
ReturnToService=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=500
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=500
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
"""
        )

    def start(self) -> None:
        f = self.folder
        munged = ["munged", "--foreground", "--force", f"--key-file={self.key}"]
        munged += [f"--socket={self.munge}", f"--pid-file={f}/munge.pid"]
        munged += [f"--log-file={f}/munge.log", f"--seed-file={f}/munge.seed"]
        self._daemon(munged)
        assert until(self.munge.exists, 4 * SLACK), "munged does not start"
        self._daemon(["slurmctld", "-D"])
        # To ranks, n1 and n2 are names of hosts as anywhere.
        names = f / "hosts"
        names.write_text(Path("/etc/hosts").read_text() + "\n127.0.0.1 n1 n2\n")
        bind = f'mount --bind {names} /etc/hosts && exec "$0" "$@"'
        for node in ("n1", "n2"):
            slurmd = [shutil.which("slurmd") or "/usr/sbin/slurmd", "-D", "-N", node]
            self._daemon(["unshare", "--mount", "sh", "-c", bind, *slurmd])
        ready = until(
            lambda: self.run(["sinfo", "-h", "-o", "%t %D"])[1].split() == ["idle", "2"], 30
        )
        if not ready:
            logs = [p.read_text()[-500:] for p in f.glob("*.log")]
            pytest.skip(f"Slurm does not come up on this machine: {logs}")

    def _daemon(self, words: list[str]) -> None:
        path = shutil.which(words[0]) or f"/usr/sbin/{words[0]}"
        self.daemons.append(
            subprocess.Popen(
                [path, *words[1:]],
                env=clean_environ(SLURM_CONF=str(self.conf)),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def run(self, words: list[str]) -> tuple[int, str, str]:
        return run(words, SLURM_CONF=str(self.conf))

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    needed("srun", "slurmctld", "slurmd", "munged")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def test_srun_on_two_nodes(slurm: Slurm) -> None:
    script = slurm.folder / "place.py"
    script.write_text(PLACE)
    words = ["srun", "-N2", "-n4", "--ntasks-per-node=2", sys.executable, str(script)]
    code, out, err = slurm.run(words)
    assert code == 0, err
    found = places(out)
    assert [p["rank"] for p in found] == [0, 1, 2, 3]
    assert [p["local_rank"] for p in found] == [0, 1, 0, 1]
    assert [p["node_rank"] for p in found] == [0, 0, 1, 1]
    for place in found:
        assert place["launcher"] == "Slurm" and place["warnings"] == []
        assert (place["world_size"], place["local_size"], place["node_count"]) == (4, 2, 2)
        assert place["rendezvous"] == found[0]["rendezvous"]
    host, port = found[0]["rendezvous"].split(":")
    assert host == "n1" and 15000 <= int(port) < 35000


def test_tasks_of_different_numbers_per_node(slurm: Slurm) -> None:
    script = slurm.folder / "place.py"
    script.write_text(PLACE)
    code, out, err = slurm.run(["srun", "-N2", "-n3", sys.executable, str(script)])
    assert code == 0, err
    found = places(out)
    sizes = sorted((p["node_rank"], p["local_size"]) for p in found)
    assert sizes in ([(0, 1), (1, 2), (1, 2)], [(0, 2), (0, 2), (1, 1)])


def test_a_single_task_is_no_job_of_several_processes(slurm: Slurm) -> None:
    words = ["srun", "-n1", sys.executable, "-c"]
    words.append("from ostria.distribute import read_environment; print(read_environment())")
    code, out, err = slurm.run(words)
    assert (code, out) == (0, "None\n"), err


def test_a_launcher_within_srun_counts_and_says_so(slurm: Slurm) -> None:
    script = slurm.folder / "place.py"
    script.write_text(PLACE)
    words = ["srun", "-N2", "-n2", sys.executable, "-m", "ostria", "launch", "--nproc", "3"]
    code, out, err = slurm.run([*words, str(script)])
    assert code == 0, err
    found = places(out)
    assert [p["rank"] for p in found] == [0, 0, 1, 1, 2, 2]  # a job on each of the two nodes
    assert all(p["launcher"] == "explicit" and p["world_size"] == 3 for p in found)
    said = [w for p in found for w in p["warnings"]]
    assert len(said) == 6, "one warning each"
    assert all("explicit say rank" in w and "Slurm says rank" in w for w in said)


# Hosts as network namespaces

MEET = """
import socket, time
from ostria.distribute import read_environment
from ostria.distribute._workers import _connect
place = read_environment()
host, port = place.rendezvous.split(":")
for attempt in range(200):
    try:
        with socket.create_connection((host, int(port)), 5) as there:
            mine = there.getsockname()[0]
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
with _connect(place) as control:
    met = [f"{m.rank}@{m.addresses[0]}" for m in control.join([mine])]
    open_to = [l.split()[1] for l in open("/proc/net/tcp").readlines()[1:] if l.split()[3] == "0A"]
    if place.rank == 0:
        print("met", *met, "at", *open_to)
"""


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Four namespaces with addresses 10.83.0.1 to 10.83.0.4, joined by a bridge in a fifth."""
    needed("ip")
    mark = uuid.uuid4().hex[:6]
    hub, names = f"ostria-{mark}-hub", [f"ostria-{mark}-{i}" for i in range(4)]

    def ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20)
        if done.returncode != 0:
            pytest.skip(f"no network namespaces here: ip {' '.join(words)}: {done.stderr.strip()}")

    made = []
    try:
        for name in (hub, *names):
            ip("netns", "add", name)
            made.append(name)
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        for i, name in enumerate(names):
            ip("-n", hub, "link", "add", f"to{i}", "type", "veth", "peer", "name", "eth0")
            ip("-n", hub, "link", "set", "eth0", "netns", name)
            ip("-n", hub, "link", "set", f"to{i}", "master", "bridge", "up")
            ip("-n", name, "address", "add", f"10.83.0.{i + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)


def start_on(hosts: list[str], folder: Path, body: str, *flags: str) -> list[subprocess.Popen[str]]:
    secret, script = folder / "secret", folder / "train.py"
    secret.write_text("ab" * 32)
    secret.chmod(0o600)
    script.write_text(body)
    launch = [sys.executable, "-m", "ostria", "launch", "--nnodes", str(len(hosts))]
    launch += ["--rendezvous", "10.83.0.1:29400", *flags]
    return [
        subprocess.Popen(
            ["ip", "netns", "exec", name, *launch, "--node-rank", str(i), str(script)],
            env=clean_environ(OSTRIA_SECRET_FILE=str(secret)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i, name in enumerate(hosts)
    ]


def test_four_hosts_meet_at_an_address_of_the_first(hosts: list[str], tmp_path: Path) -> None:
    launchers = start_on(hosts, tmp_path, MEET, "--nproc", "2")
    ends = [launcher.communicate(timeout=60) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0] * 4, ends
    met = ends[0][0].split(" at ")
    expected = sorted(f"{rank}@10.83.0.{rank // 2 + 1}" for rank in range(8))
    assert met[0] == " ".join(["[rank 0] met", *expected])
    # Bound to that interface alone: 10.83.0.1:29400 as the kernel writes it.
    assert met[1].split() == [f"0100530A:{29400:04X}"]


def test_an_address_of_another_host_cannot_be_bound(hosts: list[str], tmp_path: Path) -> None:
    """Host ranks that were mixed up are an error at once, not a wait for nobody."""
    start = time.monotonic()
    launchers = start_on(hosts[::-1], tmp_path, MEET)
    _, err = launchers[0].communicate(timeout=30)
    for launcher in launchers[1:]:
        launcher.send_signal(signal.SIGTERM)
        launcher.communicate(timeout=30)
    assert launchers[0].returncode == 2 and "10.83.0.1:29400 is no address of this host" in err
    assert time.monotonic() - start < 4 * SLACK
    assert all(gone(launcher.pid) for launcher in launchers)
