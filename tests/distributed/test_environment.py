# SPDX-License-Identifier: Apache-2.0
"""Who this process is: launchers' variables, precedence, contradictions, damaged values."""

from __future__ import annotations

import json
import os
import random
import re
import warnings

import pytest

from ostria.distribute import WorkerEnvironment, read_environment
from ostria.distribute._env_values import Values, expand_counts, expand_hosts, split_address
from ostria.distribute._launchers import TABLE, read_launch_defaults

EXPLICIT = {
    "OSTRIA_RANK": "3",
    "OSTRIA_WORLD_SIZE": "4",
    "OSTRIA_LOCAL_RANK": "1",
    "OSTRIA_LOCAL_SIZE": "2",
    "OSTRIA_NODE_RANK": "1",
    "OSTRIA_NODE_COUNT": "2",
    "OSTRIA_RENDEZVOUS": "h0:29400",
    "OSTRIA_GENERATION": "5",
}
TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "3",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "0",
    "MASTER_ADDR": "fd00::1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RESTART_COUNT": "2",
}
SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_STEP_NODELIST": "n[1-2],m07",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
    "SLURM_JOB_ID": "123456",
    "SLURM_JOB_NAME": "train",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_NODE_RANK": "1",
    "PMIX_RANK": "1",
}
PMI = {"PMI_RANK": "0", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1"}
PMIX = {"PMIX_RANK": "1", "PMIX_NAMESPACE": "a", "OSTRIA_WORLD_SIZE": "2"}
INDEXED = {"JOB_COMPLETION_INDEX": "2", "OSTRIA_WORLD_SIZE": "4", "OSTRIA_RENDEZVOUS": "a-0.a:1"}
LSF = {
    "LSB_JOBID": "9",
    "JSM_NAMESPACE_RANK": "1",
    "JSM_NAMESPACE_SIZE": "4",
    "JSM_NAMESPACE_LOCAL_RANK": "1",
    "JSM_NAMESPACE_LOCAL_SIZE": "2",
}
CLUSTER = {"chief": ["a:1"], "worker": ["b:1", "b:2"]}


def tf_config(task: str, index: int, cluster: object = CLUSTER) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": task, "index": index}})}


ENVIRONMENTS = {
    "explicit": (EXPLICIT, (3, 4, 1, 2, 1, 2, "h0:29400", 4)),
    "torchrun": (TORCHRUN, (3, 8, 3, 4, 0, None, "[fd00::1]:29500", 2)),
    "TF_CONFIG": (tf_config("worker", 1), (2, 3, 1, 2, 1, 2, "a:1", 0)),
    "Slurm": (SLURM, (5, 6, 1, 2, 2, 3, "n1:18457", 0)),
    "Open MPI": (OPEN_MPI, (1, 2, 1, 2, 0, 1, None, 0)),
    "PMI": (PMI, (0, 2, 0, 1, None, None, None, 0)),
    "PMIx": (PMIX, (1, 2, None, None, None, None, None, 0)),
    "Kubernetes Indexed Job": (INDEXED, (2, 4, None, None, None, None, "a-0.a:1", 0)),
    "LSF": (LSF, (1, 4, 1, 2, None, None, None, 0)),
}


def place(found: WorkerEnvironment | None) -> tuple[object, ...]:
    assert found is not None
    return (
        found.rank,
        found.world_size,
        found.local_rank,
        found.local_size,
        found.node_rank,
        found.node_count,
        found.rendezvous,
        found.restart_count,
    )


def quiet(environ: dict[str, str]) -> WorkerEnvironment | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_environment(environ)


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(ValueError) as caught:
        quiet(environ)
    return str(caught.value)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_launcher_is_recognised(name: str) -> None:
    environ, expected = ENVIRONMENTS[name]
    found = quiet(environ)
    assert place(found) == expected
    assert found is not None and found.launcher == name
    assert set(found.variables) <= set(environ)
    assert f"rank {found.rank} of {found.world_size}" in str(found)


def test_every_row_of_the_table_is_tested_and_documented() -> None:
    assert [row.name for row in TABLE] == list(ENVIRONMENTS)
    for row in TABLE:
        environ, _ = ENVIRONMENTS[row.name]
        found = quiet(environ)
        assert found is not None
        said = " ".join((row.trigger, row.rank, row.local, row.node, row.address))
        known = set(re.findall(r"`(\w+)`", said)) | {"OSTRIA_GENERATION"}
        known |= {"TORCHELASTIC_RESTART_COUNT", "OSTRIA_RENDEZVOUS"}
        assert set(found.variables) <= known, row.name


def test_without_a_launcher_there_is_no_environment() -> None:
    assert quiet({"HOME": "x", "MASTER_ADDR": "localhost", "SLURM_JOB_ID": "4"}) is None
    assert quiet({"TF_CONFIG": '{"model_dir": "m"}'}) is None
    assert quiet({"RANK": " "}) is None


@pytest.mark.parametrize("name", ["interactive", "bash"])
def test_a_shell_on_a_slurm_node_is_no_job(name: str) -> None:
    assert quiet({**SLURM, "SLURM_JOB_NAME": name}) is None
    assert quiet({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None


def test_the_innermost_launcher_wins_with_one_warning_that_holds_both() -> None:
    with pytest.warns(RuntimeWarning) as caught:
        found = read_environment({**SLURM, **TORCHRUN})
    assert found is not None and found.launcher == "torchrun"
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "torchrun say rank 3 of 8" in text and "Slurm says rank 5 of 6" in text
    # What `ostria launch` says of its ranks is not held against Slurm's.
    with pytest.warns(RuntimeWarning, match="explicit say rank 3 of 4.*Slurm says rank 5 of 6"):
        read_environment({**SLURM, **EXPLICIT})
    # One that cannot be read does not take the job down, and is not passed over in silence.
    with pytest.warns(RuntimeWarning, match="Slurm cannot be read.*SLURM_PROCID is 'x'"):
        read_environment({**SLURM, "SLURM_PROCID": "x", **TORCHRUN})


def test_launchers_that_agree_are_no_conflict() -> None:
    agreeing = {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "6", "OMPI_COMM_WORLD_RANK": "5"}
    assert place(quiet({**agreeing, **SLURM, "PMIX_RANK": "5"}))[:2] == (5, 6)


def test_mpirun_within_a_slurm_job_counts() -> None:
    found = quiet({**SLURM, **OPEN_MPI})
    assert found is not None and (found.launcher, found.world_size) == ("Open MPI", 2)


def test_the_chief_is_rank_0_and_the_evaluator_is_outside() -> None:
    chief, first = quiet(tf_config("chief", 0)), quiet(tf_config("worker", 0))
    assert chief is not None and first is not None
    assert (chief.rank, chief.task_type, first.rank) == (0, "chief", 1)
    evaluator = quiet(tf_config("evaluator", 0))
    assert evaluator is not None
    assert (evaluator.task_type, evaluator.world_size) == ("evaluator", 1)
    alone = quiet(tf_config("worker", 1, {"worker": ["a:1", "b:1"]}))
    assert alone is not None and (alone.rank, alone.rendezvous) == (1, "a:1")


@pytest.mark.parametrize(
    ("environ", "parts"),
    [
        ({**EXPLICIT, "OSTRIA_RANK": "4"}, ["rank is 4 (OSTRIA_RANK)", "world_size is 4", "below"]),
        ({**EXPLICIT, "OSTRIA_LOCAL_RANK": "2"}, ["local_rank is 2", "local_size is 2"]),
        ({**EXPLICIT, "OSTRIA_LOCAL_SIZE": "5"}, ["local_size is 5", "at most"]),
        ({"OSTRIA_RANK": "0"}, ["OSTRIA_WORLD_SIZE is not set", "OSTRIA_RANK='0'", "integer"]),
        ({"OSTRIA_WORLD_SIZE": "2"}, ["OSTRIA_RANK is not set"]),
        ({**EXPLICIT, "OSTRIA_WORLD_SIZE": "-1"}, ["OSTRIA_WORLD_SIZE is '-1'", "from 1 to"]),
        ({**EXPLICIT, "OSTRIA_RENDEZVOUS": "h0"}, ["OSTRIA_RENDEZVOUS is 'h0'", "host:port"]),
        ({**EXPLICIT, "OSTRIA_RENDEZVOUS": "a b:1"}, ["OSTRIA_RENDEZVOUS is 'a b:1'"]),
        ({**TORCHRUN, "MASTER_PORT": "0"}, ["MASTER_PORT is '0'", "from 1 to 65535"]),
        ({**TORCHRUN, "MASTER_ADDR": ""}, ["MASTER_ADDR is not set"]),
        ({**TORCHRUN, "MASTER_ADDR": "$(reboot)"}, ["MASTER_ADDR is '$(reboot)'", "host name"]),
        ({"RANK": "0"}, ["WORLD_SIZE is not set"]),
        (tf_config("worker", 2), ["task index 2 is out of range", "0 to 1"]),
        (
            tf_config("worker", 0, {"worker": ["a:1", "b:1", "a:1"]}),
            ["worker 0 and worker 2 have the same address 'a:1'"],
        ),
        (tf_config("worker", 0, {**CLUSTER, "ps": ["c:1"]}), ["'ps'", "leave 'ps' out"]),
        (tf_config("worker", 0, {"worker": ["a", "b:1"]}), ["TF_CONFIG is 'a'", "host:port"]),
        ({**tf_config("worker", 0), "OSTRIA_WORLD_SIZE": "2"}, ["OSTRIA_WORLD_SIZE is '2'", "3"]),
        ({"TF_CONFIG": "[" * 100_000}, ["TF_CONFIG is nested too deeply"]),
        ({"TF_CONFIG": " " * 2_000_000 + "1"}, ["at most 1048576"]),
        ({"TF_CONFIG": '{"a": ' + "9" * 5000 + "}"}, ["TF_CONFIG cannot be read"]),
        ({**SLURM, "SLURM_PROCID": "6"}, ["rank is 6", "SLURM_STEP_NUM_TASKS"]),
        ({**SLURM, "SLURM_STEP_NODELIST": "n[1-2"}, ["SLURM_STEP_NODELIST is 'n[1-2'"]),
        ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "2"}, ["one number for each of the 3 nodes"]),
        ({**SLURM, "SLURM_NODEID": "3"}, ["SLURM_NODEID=3"]),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_RANK": "2"}, ["Open MPI: rank is 2"]),
        ({"PMIX_RANK": "0"}, ["OSTRIA_WORLD_SIZE is not set", "PMIX_RANK='0'"]),
        ({**PMIX, "OSTRIA_LOCAL_SIZE": "0"}, ["OSTRIA_LOCAL_SIZE is '0'", "from 1 to"]),
        (
            {**TORCHRUN, "OSTRIA_RENDEZVOUS": "h:1"},
            ["OSTRIA_RENDEZVOUS is 'h:1'", "[fd00::1]:29500, as MASTER_ADDR and MASTER_PORT says"],
        ),
        (
            {**tf_config("worker", 0), "OSTRIA_RENDEZVOUS": "z:1"},
            ["OSTRIA_RENDEZVOUS is 'z:1'", "a:1, as TF_CONFIG says", "unset"],
        ),
    ],
)
def test_what_is_incomplete_damaged_or_contradictory_is_refused(
    environ: dict[str, str], parts: list[str]
) -> None:
    text = refused(environ)
    for part in parts:
        assert part in text


def test_what_a_launcher_does_not_say_may_be_added() -> None:
    found = quiet({**OPEN_MPI, "OSTRIA_RENDEZVOUS": "h:1"})
    assert found is not None and found.rendezvous == "h:1"
    found = quiet({**PMIX, "OSTRIA_LOCAL_RANK": "1", "OSTRIA_LOCAL_SIZE": "2"})
    assert found is not None and (found.local_rank, found.local_size) == (1, 2)
    found = quiet({**SLURM, "OSTRIA_RENDEZVOUS": "m07:1"})  # where the port that we make is taken
    assert found is not None and found.rendezvous == "m07:1"


def test_the_port_that_torchruns_own_agent_holds_is_no_meeting_place() -> None:
    agent = {**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True"}
    found = quiet(agent)
    assert found is not None and found.rendezvous is None
    found = quiet({**agent, "OSTRIA_RENDEZVOUS": "h:1"})
    assert found is not None and found.rendezvous == "h:1"
    found = quiet({**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "False"})
    assert found is not None and found.rendezvous == "[fd00::1]:29500"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("n1", ["n1"]),
        ("n[08-10,12],login", ["n08", "n09", "n10", "n12", "login"]),
        ("r[1-2]n[3-4]x", ["r1n3x", "r1n4x", "r2n3x", "r2n4x"]),
        ("a-b.c,d", ["a-b.c", "d"]),
    ],
)
def test_lists_of_hosts(text: str, hosts: list[str]) -> None:
    assert expand_hosts(text) == hosts


@pytest.mark.parametrize(
    "text",
    [
        *("", "n[", "n]", "n[1-]", "n[2-1]", "n[[1]]", "n[1,]", "a,,b", "a;b"),
        *("n[0-999999999]", "n[1-1000]m[1-1000]k[1-1000]"),
    ],
)
def test_damaged_lists_of_hosts(text: str) -> None:
    with pytest.raises(ValueError, match="no list of hosts"):
        expand_hosts(text)


def test_tasks_per_node() -> None:
    assert expand_counts("2(x3),1") == [2, 2, 2, 1]
    for text in ("", "2(x", "(x2)", "1(x9999999)", "-1"):
        with pytest.raises(ValueError, match="no list of tasks per node"):
            expand_counts(text)


def test_addresses() -> None:
    assert split_address("[fd00::1]:1") == ("fd00::1", 1)
    for text in ("", ":1", "h:", "h:0", "h:65536", "::1:1", "[h]:1", "h:1x", "a b:1", "-a:1"):
        with pytest.raises(ValueError, match="no address"):
            split_address(text)


def test_kubeflows_variables_are_defaults_of_flags() -> None:
    given = {
        "PET_NNODES": "2",
        "PET_NODE_RANK": "1",
        "PET_NPROC_PER_NODE": "gpu",
        "PET_MASTER_ADDR": "job-node-0-0.job",
        "PET_MASTER_PORT": "29501",
    }
    found = read_launch_defaults(Values(given, "Kubeflow"))
    assert (found.nnodes, found.node_rank, found.nproc) == (2, 1, "auto")
    assert found.rendezvous == "job-node-0-0.job:29501"
    assert quiet(given) is None
    with pytest.raises(ValueError, match="PET_NNODES is '1:2'"):
        read_launch_defaults(Values({"PET_NNODES": "1:2"}, "Kubeflow"))


def mutate(environ: dict[str, str], draw: random.Random) -> dict[str, str]:
    """Some variables lost, taken from elsewhere, cut, doubled, or with other characters in them."""
    result = dict(environ)
    for _ in range(draw.randint(1, 4)):
        name = draw.choice(list(result) or ["RANK"])
        value = result.get(name, "")
        at = draw.randint(0, len(value))
        kind = draw.randrange(8)
        if kind == 0:
            result.pop(name, None)
        elif kind == 1:
            other, _ = ENVIRONMENTS[draw.choice(list(ENVIRONMENTS))]
            result[draw.choice(list(other))] = draw.choice(list(other.values()))
        elif kind == 2:
            result[name] = value[:at]
        elif kind == 3:
            result[name] = value[:at] + draw.choice("0189-,:[](x){}\"'\\ \n\0٣é\ud800") + value[at:]
        elif kind == 4:
            result[name] = value[:at] + str(draw.choice([0, 1, -1, 2**31, 2**64, 1e9])) + value[at:]
        elif kind == 5:
            result[name] = value[at:] + value[:at]
        elif kind == 6:
            result[name] = value * draw.choice([2, 3, 300])
        else:
            result[name] = draw.choice(["null", "true", "[]", "{}", "NaN", '{"cluster": {}}', "n["])
    return result


def test_mutated_environments_parse_or_are_refused() -> None:
    """OSTRIA_FUZZ=100000 gives the full count."""
    draw = random.Random(int(os.environ.get("OSTRIA_FUZZ_SEED", "1")))
    parsed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(int(os.environ.get("OSTRIA_FUZZ", "20000"))):
            environ, _ = ENVIRONMENTS[list(ENVIRONMENTS)[i % len(ENVIRONMENTS)]]
            if i % 5 == 0:
                environ = {**draw.choice(list(ENVIRONMENTS.values()))[0], **environ}
            mutated = mutate(environ, draw)
            try:
                found = read_environment(mutated)
            except ValueError as error:
                assert len(str(error)) < 20_000, mutated
                continue
            parsed += found is not None
            assert found is None or 0 <= found.rank < found.world_size <= 1_000_000
    assert parsed > 100
