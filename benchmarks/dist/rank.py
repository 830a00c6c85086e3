# SPDX-License-Identifier: Apache-2.0
"""One rank of data-parallel training, on one core with one thread, driven over a socket.

`python -m benchmarks.dist.rank FRAMEWORK MODE SOCKET [RANK WORLD STORE]`: Ostria's ranks know who
they are by `ostria launch`, PyTorch's are told. Every line in either direction is a JSON object:
`{"make": [job, workload, batch]}` makes a job whose global batch is that, `{"run": [job, steps]}`
runs it. Losses are shares: those of all ranks add up to the loss of the global batch.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from benchmarks import machine
from benchmarks.models import cnn, data, job, mlp, rules

WORKLOADS: dict[str, tuple[Any, Callable[[], data.Layers], tuple[int, ...]]] = {
    "mlp": (mlp, data.mlp_weights, (784,)),
    "cnn": (cnn, data.cnn_weights, (28, 28, 1)),
}

Make = Callable[[str, int], job.StepJob]
FIRST_CORE = "BENCHMARK_FIRST_CORE"  # of this process's: that of rank 0


def _examples(workload: str, batch: int, rank: int, world: int) -> tuple[Any, Any]:
    """This rank's rows of the global batches."""
    _, _, shape = WORKLOADS[workload]
    x, y = data.examples(batch, shape)
    own = slice(rank * batch // world, (rank + 1) * batch // world)
    return x[:, own].copy(), y[:, own].copy()


def _ostria(mode: str) -> tuple[int, Make]:
    import ostria as ost
    from benchmarks.models import train_ostria

    strategy = ost.distribute.MultiWorkerMirroredStrategy(
        shard_optimizer_state=mode == "strategy_sharded_state"
    )
    rank, world = strategy.environment.rank, strategy.num_workers

    def make(workload: str, batch: int) -> job.StepJob:
        module, weights, _ = WORKLOADS[workload]
        arrays = _examples(workload, batch, rank, world)
        batches = job.batches_of(arrays, train_ostria.there)
        with strategy.scope():
            model = module.model()
            optimizer = rules.ADAM.ostria()
            loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
            train_ostria.make_weights(lambda x, y: model(x, training=True), batches[0])
            train_ostria.assign(model, module.ostria_weights(weights()))

        def step(x: Any, y: Any) -> Any:
            loss = loss_fn(y, model(x, training=True))
            optimizer.minimize(loss, model.trainable_variables)
            return loss

        return job.StepJob(lambda *b: strategy.run(step, b), batches, read=train_ostria.read)

    return rank, make


def _torch(mode: str, rank: int, world: int, store: str) -> tuple[int, Make]:
    import torch
    import torch.nn.functional as F
    from torch.nn.parallel import DistributedDataParallel

    from benchmarks.models import train_torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )

    def make(workload: str, batch: int) -> job.StepJob:
        module, weights, _ = WORKLOADS[workload]
        x, y = _examples(workload, batch, rank, world)
        forward, parameters, images = module.torch_parts(weights(), x, mode)
        sharded = "sharded_state" in mode

        def loss_of(weights: list[Any], x: Any, y: Any) -> Any:
            return F.cross_entropy(forward(weights, x), y)

        inner: Any = train_torch.TrainModule(loss_of, parameters)
        if mode.startswith("ddp_compile"):
            inner = torch.compile(inner, dynamic=False)
        replica = DistributedDataParallel(inner, gradient_as_bucket_view=True)
        optimizer = rules.ADAM.torch(replica.parameters(), sharded=sharded)

        def step(x: Any, y: Any) -> Any:
            loss = replica(x, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return loss.detach()

        batches = list(zip(images, train_torch.labels(y), strict=True))
        return job.StepJob(step, batches, read=lambda loss: float(loss) / world)

    return rank, make


def _serve(channel: Any, make: Make) -> None:
    jobs: dict[str, job.StepJob] = {}
    for line in channel:
        command = json.loads(line)
        if "make" in command:
            name, workload, batch = command["make"]
            jobs[name] = made = make(workload, batch)
            begin = time.perf_counter()
            made.advance(1)
            first = time.perf_counter() - begin
            answer = {"loss": made.advance(made.check_steps - 1), "first_step_s": first}
        else:
            name, steps = command["run"]
            cpu, begin = time.process_time(), time.perf_counter()
            loss = jobs[name].advance(steps)
            seconds = time.perf_counter() - begin
            cpu = time.process_time() - cpu
            answer = {"loss": loss, "seconds": seconds, "cpu_seconds": cpu}
        _say(channel, answer)


def _say(channel: Any, answer: dict[str, Any]) -> None:
    channel.write(json.dumps(answer) + "\n")
    channel.flush()


def main(framework: str, mode: str, path: str, *who: str) -> None:
    """Connects to the driver's socket and serves until that is closed."""
    # Before anything starts threads, which inherit it.
    number = int(who[0] if who else os.environ["OSTRIA_RANK"])
    os.sched_setaffinity(0, {machine.cores()[number + int(os.environ[FIRST_CORE])]})
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        channel: Any = connection.makefile("rw")
        try:
            if framework == "ostria":
                rank, make = _ostria(mode)
            else:
                rank, make = _torch(mode, int(who[0]), int(who[1]), who[2])
            _say(channel, {"rank": rank})
            _serve(channel, make)
        except Exception as error:
            traceback.print_exc()
            _say(channel, {"error": f"rank {number}: {type(error).__name__}: {error}"})
            sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
