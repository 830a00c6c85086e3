# SPDX-License-Identifier: Apache-2.0
"""The launchers whose variables are understood: one table, a row each, in order of precedence.

A row says when it matches and reads the place of this process. It is a pure function of a mapping:
it opens no file, resolves no name and runs nothing. docs/reference/launchers.md is made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ostria._errors import at_line
from ostria.distribute._env_values import (
    MAX_WORLD_SIZE,
    Values,
    expand_counts,
    expand_hosts,
    is_host,
    join_address,
    split_address,
)
from ostria.estimator.cluster import EVALUATOR, PS, parse_tf_config


class Field(NamedTuple):
    """A value and the variables that it comes from, for messages."""

    value: int | str
    source: str


# Keys are those of WorkerEnvironment; what a launcher does not say is missing.
Fields = dict[str, Field]


@dataclass(frozen=True)
class Launcher:
    """A row. ``read`` gives None where, on a closer look, it was not this launcher."""

    name: str
    trigger: str
    rank: str
    local: str
    node: str
    address: str
    matches: Callable[[Values], bool]
    read: Callable[[Values], Fields | None]


def _set(variable: str) -> Callable[[Values], bool]:
    return lambda values: values.has(variable)


def _numbers(values: Values, **variables: str) -> Fields:
    """Fields that must be there; a `?` at the end of a name says that it may be missing."""
    fields: Fields = {}
    for key, variable in variables.items():
        name = variable.rstrip("?")
        if name == variable or values.has(name):
            least = 1 if key in ("world_size", "local_size", "node_count") else 0
            fields[key] = Field(values.number(name, least), name)
    return fields


def _explicit(values: Values) -> Fields:
    fields = _numbers(values, rank="OSTRIA_RANK", world_size="OSTRIA_WORLD_SIZE")
    generation = values.optional("OSTRIA_GENERATION", 1)
    if generation is not None:
        fields["restart_count"] = Field(generation - 1, "OSTRIA_GENERATION")
    return fields  # the rest is what may be added to any row


def read_added(values: Values) -> Fields:
    """What the user may add where a launcher does not say it."""
    fields = _numbers(
        values,
        world_size="OSTRIA_WORLD_SIZE?",
        local_rank="OSTRIA_LOCAL_RANK?",
        local_size="OSTRIA_LOCAL_SIZE?",
        node_rank="OSTRIA_NODE_RANK?",
        node_count="OSTRIA_NODE_COUNT?",
    )
    if values.has("OSTRIA_RENDEZVOUS"):
        address = values.address("OSTRIA_RENDEZVOUS")
        fields["rendezvous"] = Field(address, "OSTRIA_RENDEZVOUS")
    return fields


def _torchrun(values: Values) -> Fields:
    fields = _numbers(
        values,
        rank="RANK",
        world_size="WORLD_SIZE",
        local_rank="LOCAL_RANK",
        local_size="LOCAL_WORLD_SIZE?",
        node_rank="GROUP_RANK?",
        restart_count="TORCHELASTIC_RESTART_COUNT?",
    )
    host, port = values.host("MASTER_ADDR"), values.number("MASTER_PORT", 1, 65535)
    # torchrun's own agent holds that port where it says so: OSTRIA_RENDEZVOUS names another.
    if values.environ.get("TORCHELASTIC_USE_AGENT_STORE", "").lower() != "true":
        fields["rendezvous"] = Field(join_address(host, port), "MASTER_ADDR and MASTER_PORT")
    return fields


def _tf_config(values: Values) -> Fields | None:
    text = values.environ["TF_CONFIG"]
    cluster = parse_tf_config(text)
    values.used["TF_CONFIG"] = text
    if cluster.task_type == EVALUATOR:
        # It is outside: a world of its own that watches the model directory.
        alone = {"rank": 0, "world_size": 1, "local_rank": 0, "local_size": 1}
        fields = {key: Field(value, "TF_CONFIG") for key, value in alone.items()}
        return {**fields, "task_type": Field(EVALUATOR, "TF_CONFIG")}
    if not cluster.cluster_spec:
        return None
    if PS in cluster.cluster_spec:
        raise ValueError(
            at_line(
                f"TF_CONFIG: the cluster has {cluster.num_ps_replicas} 'ps' task(s); accepted are "
                "'chief' and 'worker', which train in step; leave 'ps' out of the cluster"
            )
        )
    rank = cluster.global_id_in_cluster
    assert rank is not None
    first = [job for job in cluster.cluster_spec if job != "worker"]
    addresses = [a for job in [*first, "worker"] for a in cluster.cluster_spec.get(job, ())]
    hosts = []
    for address in addresses:
        try:
            hosts.append(split_address(address)[0])
        except ValueError:
            values.refuse("TF_CONFIG", address, "a cluster of host:port addresses")
    nodes = list(dict.fromkeys(hosts))
    place: dict[str, int | str] = {
        "rank": rank,
        "world_size": len(addresses),
        "local_rank": hosts[:rank].count(hosts[rank]),
        "local_size": hosts.count(hosts[rank]),
        "node_rank": nodes.index(hosts[rank]),
        "node_count": len(nodes),
        "rendezvous": addresses[0],
        "task_type": cluster.task_type,
    }
    return {key: Field(value, "TF_CONFIG") for key, value in place.items()}


def _is_slurm(values: Values) -> bool:
    # One task, or a shell on a node, is no job of several processes.
    shell = values.environ.get("SLURM_JOB_NAME") in ("interactive", "bash")
    alone = values.environ.get("SLURM_STEP_NUM_TASKS", "1") == "1"
    # mpirun and mpiexec start their daemons by srun, one a node, and its variables reach the ranks.
    tasks = values.environ.get("SLURM_STEP_NUM_TASKS")
    sizes = [values.environ.get(name, tasks) for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")]
    if shell or alone or any(size != tasks for size in sizes):
        return False
    return values.has("SLURM_PROCID") and values.has("SLURM_STEP_ID")


def _slurm(values: Values) -> Fields:
    fields = _numbers(
        values,
        rank="SLURM_PROCID",
        world_size="SLURM_STEP_NUM_TASKS",
        local_rank="SLURM_LOCALID",
        node_rank="SLURM_NODEID",
        restart_count="SLURM_RESTART_COUNT?",
    )
    nodelist = "SLURM_STEP_NODELIST"
    nodelist = nodelist if values.has(nodelist) else "SLURM_JOB_NODELIST"
    text = values.text(nodelist, "a list of hosts, such as n[01-16]")
    try:
        hosts = expand_hosts(text)
    except ValueError:
        values.refuse(nodelist, text, "a list of hosts, such as n[01-16,20]")
    fields["node_count"] = Field(len(hosts), nodelist)

    tasks = values.text("SLURM_STEP_TASKS_PER_NODE", "tasks per node, such as 2(x4)")
    try:
        counts = expand_counts(tasks)
    except ValueError:
        values.refuse("SLURM_STEP_TASKS_PER_NODE", tasks, "tasks per node, such as 4(x2),1")
    node, size = int(fields["node_rank"].value), int(fields["world_size"].value)
    if len(counts) != len(hosts) or sum(counts) != size or node >= len(counts):
        values.refuse(
            "SLURM_STEP_TASKS_PER_NODE",
            tasks,
            f"one number for each of the {len(hosts)} nodes of {nodelist}, together "
            f"SLURM_STEP_NUM_TASKS={size}, with one for SLURM_NODEID={node}",
        )
    fields["local_size"] = Field(counts[node], "SLURM_STEP_TASKS_PER_NODE")

    if values.has("OSTRIA_RENDEZVOUS"):  # Slurm names no place: ours is one that most often is free
        return fields
    job, step = values.number("SLURM_JOB_ID", 0, 10**9), values.number("SLURM_STEP_ID", 0, 10**9)
    port = 15000 + job % 10000 + step % 10000
    source = f"{nodelist}, SLURM_JOB_ID and SLURM_STEP_ID"
    fields["rendezvous"] = Field(join_address(hosts[0], port), source)
    return fields


def _open_mpi(values: Values) -> Fields:
    fields = _numbers(
        values,
        rank="OMPI_COMM_WORLD_RANK",
        world_size="OMPI_COMM_WORLD_SIZE",
        local_rank="OMPI_COMM_WORLD_LOCAL_RANK",
        local_size="OMPI_COMM_WORLD_LOCAL_SIZE?",
    )
    # OMPI_COMM_WORLD_NODE_RANK counts processes of all jobs on a node: it is no rank of the node.
    return _one_node(fields)


def _pmi(values: Values) -> Fields:
    return _one_node(
        _numbers(
            values,
            rank="PMI_RANK",
            world_size="PMI_SIZE",
            local_rank="MPI_LOCALRANKID?",
            local_size="MPI_LOCALNRANKS?",
        )
    )


def _sized(rank: str) -> Callable[[Values], Fields]:
    """Of launchers that give a rank alone."""
    return lambda values: _numbers(values, rank=rank, world_size="OSTRIA_WORLD_SIZE")


def _lsf(values: Values) -> Fields:
    return _one_node(
        _numbers(
            values,
            rank="JSM_NAMESPACE_RANK",
            world_size="JSM_NAMESPACE_SIZE",
            local_rank="JSM_NAMESPACE_LOCAL_RANK",
            local_size="JSM_NAMESPACE_LOCAL_SIZE?",
        )
    )


def _one_node(fields: Fields) -> Fields:
    """Where all ranks are local, the node is known."""
    local, size = fields.get("local_size"), fields["world_size"]
    if local is not None and local.value == size.value:
        fields["node_rank"] = Field(0, local.source)
        fields["node_count"] = Field(1, local.source)
    return fields


GIVEN = "`OSTRIA_RENDEZVOUS`"
TABLE = (
    Launcher(
        "explicit",
        "`OSTRIA_RANK`, which `ostria launch` sets too",
        "`OSTRIA_RANK`, `OSTRIA_WORLD_SIZE`",
        "`OSTRIA_LOCAL_RANK`, `OSTRIA_LOCAL_SIZE`",
        "`OSTRIA_NODE_RANK`, `OSTRIA_NODE_COUNT`",
        GIVEN,
        _set("OSTRIA_RANK"),
        _explicit,
    ),
    Launcher(
        "torchrun",
        "`RANK` or `WORLD_SIZE`; all of `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and "
        "`MASTER_PORT` must be there",
        "`RANK`, `WORLD_SIZE`",
        "`LOCAL_RANK`, `LOCAL_WORLD_SIZE`",
        "`GROUP_RANK`",
        "`MASTER_ADDR`:`MASTER_PORT`",
        lambda values: values.has("RANK") or values.has("WORLD_SIZE"),
        _torchrun,
    ),
    Launcher(
        "TF_CONFIG",
        "`TF_CONFIG` with a cluster; an evaluator is a world of its own",
        "place in chief, then workers",
        "place among the tasks of the same host",
        "place among the hosts",
        "the first task's",
        _set("TF_CONFIG"),
        _tf_config,
    ),
    Launcher(
        "Slurm",
        "`SLURM_PROCID` and `SLURM_STEP_ID`, with `SLURM_STEP_NUM_TASKS` above 1, and a job that "
        "is not named `bash` or `interactive`; not where an MPI of another size was started by it",
        "`SLURM_PROCID`, `SLURM_STEP_NUM_TASKS`",
        "`SLURM_LOCALID`, `SLURM_STEP_TASKS_PER_NODE`",
        "`SLURM_NODEID`, `SLURM_STEP_NODELIST`",
        "`OSTRIA_RENDEZVOUS`, else the first of `SLURM_STEP_NODELIST`; port 15000 + the last four "
        "digits of `SLURM_JOB_ID` + `SLURM_STEP_ID`",
        _is_slurm,
        _slurm,
    ),
    Launcher(
        "Open MPI",
        "`OMPI_COMM_WORLD_RANK`",
        "`OMPI_COMM_WORLD_RANK`, `OMPI_COMM_WORLD_SIZE`",
        "`OMPI_COMM_WORLD_LOCAL_RANK`, `OMPI_COMM_WORLD_LOCAL_SIZE`",
        "found at the rendezvous",
        GIVEN,
        _set("OMPI_COMM_WORLD_RANK"),
        _open_mpi,
    ),
    Launcher(
        "PMI",
        "`PMI_RANK` (MPICH, Intel MPI)",
        "`PMI_RANK`, `PMI_SIZE`",
        "`MPI_LOCALRANKID`, `MPI_LOCALNRANKS`",
        "found at the rendezvous",
        GIVEN,
        _set("PMI_RANK"),
        _pmi,
    ),
    Launcher(
        "PMIx",
        "`PMIX_RANK`",
        "`PMIX_RANK`, `OSTRIA_WORLD_SIZE`",
        "`OSTRIA_LOCAL_RANK`, `OSTRIA_LOCAL_SIZE`",
        "found at the rendezvous",
        GIVEN,
        _set("PMIX_RANK"),
        _sized("PMIX_RANK"),
    ),
    Launcher(
        "Kubernetes Indexed Job",
        "`JOB_COMPLETION_INDEX` and `OSTRIA_WORLD_SIZE`",
        "`JOB_COMPLETION_INDEX`, `OSTRIA_WORLD_SIZE`",
        "`OSTRIA_LOCAL_RANK`, `OSTRIA_LOCAL_SIZE`",
        "found at the rendezvous",
        GIVEN,
        lambda v: v.has("JOB_COMPLETION_INDEX") and v.has("OSTRIA_WORLD_SIZE"),
        _sized("JOB_COMPLETION_INDEX"),
    ),
    Launcher(
        "LSF",
        "`LSB_JOBID` and `JSM_NAMESPACE_RANK`",
        "`JSM_NAMESPACE_RANK`, `JSM_NAMESPACE_SIZE`",
        "`JSM_NAMESPACE_LOCAL_RANK`, `JSM_NAMESPACE_LOCAL_SIZE`",
        "found at the rendezvous",
        GIVEN,
        lambda values: values.has("LSB_JOBID") and values.has("JSM_NAMESPACE_RANK"),
        _lsf,
    ),
)


@dataclass(frozen=True)
class LaunchDefaults:
    """What Kubeflow's variables say about the flags of `ostria launch`; None where they do not."""

    nproc: str | None = None
    nnodes: int | None = None
    node_rank: int | None = None
    rendezvous: str | None = None


def read_launch_defaults(values: Values) -> LaunchDefaults:
    """PET_NPROC_PER_NODE, PET_NNODES, PET_NODE_RANK, and PET_MASTER_ADDR with PET_MASTER_PORT.

    Raises:
      ValueError: one of them is not what it must be.
    """
    nproc = None
    if values.has("PET_NPROC_PER_NODE"):
        nproc = values.text("PET_NPROC_PER_NODE")
        if nproc not in ("auto", "cpu", "gpu"):
            nproc = str(values.number("PET_NPROC_PER_NODE", 1))
    rendezvous = None
    if values.has("PET_MASTER_ADDR"):
        host = values.text("PET_MASTER_ADDR")
        if not is_host(host):
            values.refuse("PET_MASTER_ADDR", host, "a host name or an IP address")
        port = values.optional("PET_MASTER_PORT", 1, 65535)
        rendezvous = join_address(host, 29400 if port is None else port)
    return LaunchDefaults(
        nproc="auto" if nproc in ("cpu", "gpu") else nproc,
        nnodes=values.optional("PET_NNODES", 1, MAX_WORLD_SIZE),
        node_rank=values.optional("PET_NODE_RANK", 0, MAX_WORLD_SIZE - 1),
        rendezvous=rendezvous,
    )
