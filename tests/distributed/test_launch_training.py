# SPDX-License-Identifier: Apache-2.0
"""A training program under `ostria launch`: what its workers read, and how it ends on SIGTERM."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter

import pytest
from launching import LINE, Launcher, lines_of

READS = """
import json
import numpy as np
import ostria as ost
with ost.distribute.MultiWorkerMirroredStrategy() as strategy:
    dataset = ost.data.Dataset.range(11).shuffle(11).batch(4)  # each draws a seed of its own
    batches = strategy.experimental_distribute_dataset(dataset)
    for epoch in range(2):
        print(json.dumps([np.asarray(batch).tolist() for batch in batches]), flush=True)
"""


@pytest.mark.parametrize("nproc", [1, 2, 3])
def test_workers_read_every_row_once_and_end_together(job: Launcher, nproc: int) -> None:
    code, out, err = job.run("--nproc", str(nproc), job.script(READS))
    assert code == 0, err
    said = {rank: [json.loads(line) for line in lines] for rank, lines in lines_of(out).items()}
    for epoch in range(2):
        steps = [said[rank][epoch] for rank in range(nproc)]
        assert [len(s) for s in steps] == [3] * nproc
        rows = [row for worker in steps for part in worker for row in part]
        assert Counter(rows) == Counter(range(11))
    assert said[0][0] != said[0][1], "every epoch has an order of its own"
    plan = f"[rank 0] input: {nproc} worker(s) with 1 replica(s) each"
    assert (plan in err) == (nproc > 1)


def test_values_of_all_workers_are_gathered_along_any_axis(job: Launcher) -> None:
    body = (
        "import numpy as np\n"
        "import ostria as ost\n"
        "with ost.distribute.MultiWorkerMirroredStrategy() as strategy:\n"
        "    mine = ost.asarray(np.full((2, 1 + 2 * rank), rank, np.float32))\n"
        "    print(strategy.gather(mine, 1).numpy().tolist(), flush=True)\n"
    )
    code, out, err = job.run("--nproc", "2", job.script(body))
    assert code == 0, err
    assert lines_of(out) == {rank: [str([[0.0, 1.0, 1.0, 1.0]] * 2)] for rank in range(2)}


def test_one_worker_that_fails_to_read_ends_all(job: Launcher) -> None:
    body = READS.replace("Dataset.range(11).shuffle(11)", "Dataset.from_generator(rows)")
    rows = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so that rank 0 has time to say it\n"
        "def rows():\n"
        "    for i in range(11):\n"
        "        if rank == 1 and i == 6: raise OSError('disk on fire')\n"
        "        yield np.int64(i)\n"
    )
    body = body.replace("with ost", rows + "with ost", 1)
    code, _, err = job.run("--nproc", "2", job.script(body))
    assert code == 1
    assert "[rank 1] OSError: disk on fire" in err
    assert "[rank 0]" in err and "another worker" in err


def test_sigterm_saves_within_the_grace_period(job: Launcher) -> None:
    body = (
        "import numpy as np\n"
        "import ostria as ost\n"
        "x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]\n"
        "data = ost.data.Dataset.from_tensor_slices((x, 3 * x)).repeat().batch(16)\n"
        "class Say(ost.train.Hook):\n"
        "    said = False\n"
        "    def after_step(self, *_):\n"
        "        if not self.said: print('training', flush=True)\n"
        "        self.said = True\n"
        "model, mse = ost.nn.Dense(1), ost.losses.MeanSquaredError()\n"
        "sgd, hooks = ost.optim.SGD(0.01), [Say()]\n"
        "trainer = ost.train.Trainer(\n"
        "    model, mse, sgd, model_dir='model', save_steps=10**9, hooks=hooks)\n"
        "trainer.train(lambda: data)\n"
    )
    process = job.start("--grace", "20", job.script(body))
    assert process.stdout is not None
    assert LINE.fullmatch(process.stdout.readline().rstrip())
    process.send_signal(signal.SIGTERM)
    code, _, err = job.end(process)
    assert "SIGTERM stopped the job; every rank ended by itself" in err, err
    assert code not in (0, 128 + signal.SIGKILL)
    saved = re.search(r"stopped by SIGTERM after step (\d+); saved as (\S+);", err)
    assert saved and int(saved[1]) > 0 and (job.folder / saved[2]).exists(), err
