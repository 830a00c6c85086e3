# SPDX-License-Identifier: Apache-2.0
"""The TF_CONFIG environment variable: who this process is, and who the others are.

Parsing is pure: JSON text in, an immutable ``Cluster`` out, the same rules and roles as
TensorFlow's. Whether a cluster of that shape can be *run* is decided by the caller; see
``Cluster.require_supported``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ostria._errors import at_line

CHIEF = "chief"
MASTER = "master"  # the legacy name of the chief
WORKER = "worker"
PS = "ps"
EVALUATOR = "evaluator"
TASK_TYPES = (CHIEF, MASTER, WORKER, PS, EVALUATOR)
# The addresses of some ten thousand tasks.
MAX_TF_CONFIG = 1 << 20


@dataclass(frozen=True)
class Cluster:
    """What TF_CONFIG says about this process. The defaults describe a local, single process."""

    cluster_spec: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    task_type: str = WORKER
    task_id: int = 0
    master: str = ""
    evaluation_master: str = ""
    is_chief: bool = True
    num_ps_replicas: int = 0
    num_worker_replicas: int = 1
    global_id_in_cluster: int | None = 0
    service: Mapping[str, object] | None = None
    model_dir: str | None = None

    @property
    def num_nodes(self) -> int:
        """Processes named by the cluster; 0 without one (and for the evaluator)."""
        return sum(len(hosts) for hosts in self.cluster_spec.values())

    def require_supported(self, what: str, strategy: Any = None) -> None:
        """Raises unless the processes of the cluster are those that ``strategy`` trains in.

        Raises:
          NotImplementedError: parameter servers, or several processes without a strategy.
          ValueError: the strategy has another number of processes than the cluster.
        """
        if self.num_nodes <= 1:
            return
        jobs = ", ".join(f"{len(h)} {job}" for job, h in self.cluster_spec.items())
        cluster = f"{what}: TF_CONFIG describes a cluster of {self.num_nodes} processes ({jobs})"
        if PS in self.cluster_spec:
            raise NotImplementedError(
                at_line(
                    f"{cluster}; this version trains in step and has no parameter servers: leave "
                    "'ps' out of the cluster"
                )
            )
        if strategy is None:
            raise NotImplementedError(
                at_line(
                    f"{cluster}, but no strategy connects them; give RunConfig(train_distribute="
                    "ost.distribute.MultiWorkerMirroredStrategy()), or unset TF_CONFIG"
                )
            )
        workers = getattr(strategy, "num_workers", 1)
        if workers != self.num_nodes:
            raise ValueError(
                at_line(
                    f"{cluster}, but train_distribute {strategy!r} has {workers} process(es); make "
                    "a MultiWorkerMirroredStrategy() while TF_CONFIG is what it is now"
                )
            )


def parse_tf_config(text: str | None = None) -> Cluster:
    """Parses ``text``, or the environment variable TF_CONFIG if None.

    Raises:
      ValueError: TF_CONFIG is not a JSON object, or breaks a rule of cluster or task.
    """
    if text is None:
        text = os.environ.get("TF_CONFIG", "")
    config = _json_object(text)
    model_dir = config.get("model_dir")
    if model_dir is not None and (not isinstance(model_dir, str) or not model_dir):
        raise ValueError(
            at_line(
                f"model_dir in TF_CONFIG should be non-empty; given {model_dir!r}; TF_CONFIG: give "
                "a path, or leave model_dir out"
            )
        )
    service = config.get("service")
    if service is not None and not isinstance(service, dict):
        raise ValueError(
            at_line(
                f'TF_CONFIG: "service" must be a JSON object; given {service!r}; write {{}} or '
                "leave it out"
            )
        )

    spec = _cluster_spec(config.get("cluster"))
    task = config.get("task", {})
    if not isinstance(task, dict):
        raise ValueError(
            at_line(
                'TF_CONFIG: "task" must be an object such as {"type": "worker", "index": '
                f"0}}; given {task!r}"
            )
        )
    if task.get("type") == EVALUATOR:
        return _evaluator(task, service, model_dir)
    session_master = str(config.get("session_master", ""))
    eval_master = str(config.get("eval_session_master", ""))
    if spec:
        return _member(spec, task, session_master, eval_master, service, model_dir)

    task_type = task.get("type", WORKER)
    if task_type != WORKER:
        raise ValueError(
            at_line(
                'If "cluster" is not set in TF_CONFIG, task type must be "worker"; given '
                f"{task_type!r}; add the cluster, or leave the task out"
            )
        )
    if _task_index(task.get("index", 0)) != 0:
        raise ValueError(
            at_line(
                'If "cluster" is not set in TF_CONFIG, task index must be 0; given '
                f"{task['index']!r}; add the cluster, or leave the task out"
            )
        )
    return Cluster(
        master=session_master, evaluation_master=eval_master, service=service, model_dir=model_dir
    )


def _evaluator(
    task: dict[str, object], service: dict[str, object] | None, model_dir: str | None
) -> Cluster:
    # The evaluator stands outside the cluster: it only watches the model directory.
    if _task_index(task.get("index", 0)) != 0:
        raise ValueError(
            at_line(
                "TF_CONFIG: there is one evaluator, so its task index must be 0; given "
                f"{task['index']!r}; write 0 or leave it out"
            )
        )
    return Cluster(
        task_type=EVALUATOR,
        is_chief=False,
        num_worker_replicas=0,
        global_id_in_cluster=None,
        service=service,
        model_dir=model_dir,
    )


def _member(
    spec: dict[str, tuple[str, ...]],
    task: dict[str, object],
    session_master: str,
    eval_master: str,
    service: dict[str, object] | None,
    model_dir: str | None,
) -> Cluster:
    chief_job = _chief_job(spec)
    for key in ("type", "index"):
        if task.get(key) is None:
            raise ValueError(
                at_line(
                    f'If "cluster" is set in TF_CONFIG, task {key} must be set; given task '
                    f"{task!r}; write which of the cluster's tasks this process is, such as "
                    '{"type": "worker", "index": 0}'
                )
            )
    task_type, task_id = task["type"], _task_index(task["index"])
    if not isinstance(task_type, str) or task_type not in TASK_TYPES:
        raise ValueError(
            at_line(
                f"TF_CONFIG: unknown task type {task_type!r}; supported are {', '.join(TASK_TYPES)}"
            )
        )
    if task_type not in spec:
        raise ValueError(
            at_line(
                f"TF_CONFIG: {task_type!r} is not a task type of this cluster, which has "
                f"{', '.join(spec)}; take one of these, or add it to the cluster"
            )
        )
    if task_id >= len(spec[task_type]):
        raise ValueError(
            at_line(
                f"TF_CONFIG: task index {task_id} is out of range; the cluster has "
                f"{len(spec[task_type])} {task_type!r} task(s); give an index from 0 to "
                f"{len(spec[task_type]) - 1}"
            )
        )
    one_node = sum(len(hosts) for hosts in spec.values()) == 1
    workers = len(spec.get(WORKER, ()))
    if chief_job != WORKER:
        workers += 1
    return Cluster(
        cluster_spec=spec,
        task_type=task_type,
        task_id=task_id,
        # One node runs in its own process: no server, hence no address to connect to.
        master=session_master or ("" if one_node else spec[task_type][task_id]),
        evaluation_master=eval_master,
        is_chief=task_type == chief_job and task_id == 0,
        num_ps_replicas=len(spec.get(PS, ())),
        num_worker_replicas=workers,
        global_id_in_cluster=_global_id(spec, chief_job, task_type, task_id),
        service=service,
        model_dir=model_dir,
    )


def _chief_job(spec: dict[str, tuple[str, ...]]) -> str:
    if set(spec) == {WORKER}:
        return WORKER  # all workers are equal and worker 0 acts as the chief
    jobs = [job for job in (CHIEF, MASTER) if job in spec]
    if not jobs:
        raise ValueError(
            at_line(
                'If "cluster" is set in TF_CONFIG, it must have one "chief" node (or only '
                f'"worker" nodes); given {", ".join(spec)}; add a "chief" with one address'
            )
        )
    if sum(len(spec[job]) for job in jobs) != 1:
        raise ValueError(
            at_line(
                'The "cluster" in TF_CONFIG must have only one "chief" node; given '
                f"{', '.join(host for job in jobs for host in spec[job])}; make the others "
                '"worker" nodes'
            )
        )
    return jobs[0]


def _global_id(
    spec: dict[str, tuple[str, ...]], chief_job: str, task_type: str, task_id: int
) -> int:
    order = [chief_job, *sorted(job for job in spec if job not in (chief_job, PS))]
    if PS in spec:
        order.append(PS)
    before = order[: order.index(task_type)]
    return sum(len(spec[job]) for job in before) + task_id


def _json_object(text: str) -> dict[str, object]:
    if not text.strip():
        return {}
    if len(text) > MAX_TF_CONFIG:
        raise ValueError(
            at_line(
                f"TF_CONFIG has {len(text)} characters; at most {MAX_TF_CONFIG} are accepted; "
                "write a JSON object with cluster and task, or unset TF_CONFIG"
            )
        )
    import json  # only with a TF_CONFIG

    try:
        config = json.loads(text)
    except RecursionError:
        raise ValueError(
            at_line(
                f"TF_CONFIG is nested too deeply; given {_shorten(text)}; write a JSON object with "
                "cluster and task, or unset TF_CONFIG"
            )
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(
            at_line(
                f"TF_CONFIG is not valid JSON: {error.msg} at line {error.lineno}, column "
                f"{error.colno}; given {_shorten(text)}; write a JSON object, or unset TF_CONFIG"
            )
        ) from None
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(
            at_line(
                f"TF_CONFIG cannot be read: {error}; given {_shorten(text)}; write a JSON object "
                "with cluster and task, or unset TF_CONFIG"
            )
        ) from None
    if not isinstance(config, dict):
        raise ValueError(
            at_line(
                f'TF_CONFIG must be a JSON object; given {_shorten(text)}; write {{"cluster": '
                '..., "task": ...}, or unset TF_CONFIG'
            )
        )
    return config


def _cluster_spec(cluster: object) -> dict[str, tuple[str, ...]]:
    shape = '"cluster" must map task types to lists of "host:port"'
    if cluster is None:
        return {}
    if not isinstance(cluster, dict):
        raise ValueError(at_line(f"TF_CONFIG: {shape}; given {cluster!r}"))
    spec: dict[str, tuple[str, ...]] = {}
    for job, given in cluster.items():
        # The sparse form is {"0": "host:port", ...}.
        hosts = list(given.values()) if isinstance(given, dict) else given
        if not isinstance(hosts, list) or not all(isinstance(h, str) and h for h in hosts):
            raise ValueError(at_line(f"TF_CONFIG: {shape}; {job!r} is given as {given!r}"))
        if job == EVALUATOR:
            raise ValueError(
                at_line(
                    "TF_CONFIG: the evaluator is not part of the cluster; given "
                    f'{", ".join(cluster)}; remove {EVALUATOR!r} from "cluster"'
                )
            )
        if job not in TASK_TYPES:
            raise ValueError(
                at_line(
                    f"TF_CONFIG: unknown task type {job!r} in the cluster; supported are "
                    f"{', '.join(TASK_TYPES)}"
                )
            )
        if hosts:
            spec[job] = tuple(hosts)
    seen: dict[str, str] = {}
    for job, addresses in spec.items():
        for i, address in enumerate(addresses):
            task = f"{job} {i}"
            if address in seen:
                raise ValueError(
                    at_line(
                        f"TF_CONFIG: {seen[address]} and {task} have the same address {address!r}; "
                        "every task needs one of its own; give another host or port"
                    )
                )
            seen[address] = task
    return spec


def _task_index(index: object) -> int:
    try:
        known = isinstance(index, (int, str)) and not isinstance(index, bool)
        value = int(index) if known else None  # type: ignore[call-overload]
    except ValueError:
        value = None
    if value is None or value < 0:
        raise ValueError(
            at_line(
                f"Task index must be non-negative number; TF_CONFIG gives {index!r}; give an "
                "integer from 0"
            )
        )
    return value


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")
