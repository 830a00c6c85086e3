# SPDX-License-Identifier: Apache-2.0
"""How workers share a dataset: the policy that applies, each worker's part, the plan as text.

A plan is made from what every worker knows alike, so all make the same one; whether they did is
compared before the first batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ostria._errors import at_line
from ostria.data import AutoShardPolicy, Dataset
from ostria.data._making import Making

# They pass whole batches on without a look inside.
_KEEP_BATCHES = ("prefetch", "repeat", "take", "skip", "shuffle", "options")
# They count elements over all files, which no worker alone can under FILE.
_COUNTS = ("take", "skip", "enumerate")
_SHOWN = 32  # lines of a plan


@dataclass(frozen=True)
class ShardPlan:
    """Attributes:
    policy: FILE, DATA or OFF; None where a function makes each worker's dataset.
    dataset: what this worker reads.
    text: for people, with what every worker reads.
    fingerprint: a non-negative integer, equal on workers whose plans are.
    """

    policy: AutoShardPolicy | None
    dataset: Dataset
    text: str
    fingerprint: int


def make_plan(
    dataset: Dataset, *, replicas: int, workers: int, worker: int, reproducible: bool = False
) -> ShardPlan:
    """The plan of one of ``workers`` workers with ``replicas`` replicas each.

    Raises:
      ValueError: the dataset is not batched, or the policy FILE cannot be had, or ``reproducible``
        and the policy's rows depend on the number of workers.
    """
    _check_batched(dataset)
    wanted = dataset.options().experimental_distribute.auto_shard_policy
    if reproducible:
        policy, why = _decide_reproducible(wanted)
    else:
        policy, why = _decide(dataset, wanted, workers)
    lines = [
        f"input: {workers} worker(s) with {replicas} replica(s) each, {workers * replicas} in "
        f"sync; auto-shard {wanted.name}" + (f" -> {policy.name} ({why})" if why else "")
    ]
    if policy is AutoShardPolicy.FILE:
        for w in range(workers):
            for reader in _file_readers(dataset):
                mine = reader.files[w::workers]
                lines.append(
                    f"  worker {w}: {len(mine)} of {len(reader.files)} files: {_some(mine)}"
                )
        own = _with_files_of(dataset, workers, worker)
    else:
        total = workers * replicas
        for w in range(workers):
            if policy is AutoShardPolicy.OFF:
                lines.append(f"  worker {w}: every row, in batches of 1/{total} of a global batch")
                continue
            first, last = w * replicas, (w + 1) * replicas - 1
            which = f"part {first}" if first == last else f"parts {first} to {last}"
            lines.append(f"  worker {w}: {which} of the {total} of every global batch")
        own = dataset
    text = "\n".join(lines)
    known = [text, str(own.cardinality()) if policy is not AutoShardPolicy.FILE else ""]
    known += [f"{m.kind} {m.files}" for m in _makings(dataset)]
    digest = hashlib.sha256("\n".join(known).encode(errors="surrogatepass")).digest()
    return ShardPlan(policy, own, _shortened(lines), int.from_bytes(digest[:7], "little"))


def _shortened(lines: list[str]) -> str:
    """The lines of the plan, of which those in the middle are left out where there are many."""
    if len(lines) > _SHOWN + 2:
        left = len(lines) - _SHOWN - 1
        lines = [*lines[:_SHOWN], f"  … {left} more lines like these", lines[-1]]
    return "\n".join(lines)


def share_batches(dataset: Dataset, first: int, count: int, total: int) -> Dataset | None:
    """The same pipeline whose elements are (``count`` parts of a global batch, its rows).

    None where rows that others keep must be read too: what follows on ``batch`` needs them, or they
    come one after the other.
    """
    making = dataset._making
    if making.kind == "batch":
        return making.share(first, count, total) if making.share is not None else None
    if making.kind not in _KEEP_BATCHES:
        return None
    shared = share_batches(making.inputs[0], first, count, total)
    return None if shared is None else making.again(shared)


def has_unseeded_shuffle(dataset: Dataset) -> bool:
    """Whether processes that make this dataset draw seeds of their own."""
    return any(m.kind == "shuffle" and not m.details["seeded"] for m in _makings(dataset))


def _decide(dataset: Dataset, wanted: AutoShardPolicy, workers: int) -> tuple[AutoShardPolicy, str]:
    """The policy that applies, and why where AUTO was asked for."""
    if wanted in (AutoShardPolicy.DATA, AutoShardPolicy.OFF):
        return wanted, ""
    makings = list(_makings(dataset))
    readers = _file_readers(dataset)
    sources = [m for m in makings if not m.inputs]
    counting = [m.kind for m in makings if m.kind in _COUNTS]
    refusal = ""
    if not readers:
        refusal = "no reader of files was found"
    elif len(readers) < len(sources):
        refusal = "files are combined with what is in no file"
    elif counting:
        refusal = f"{counting[0]} counts elements over all files"
    elif len({len(r.files) for r in readers}) > 1:
        refusal = "readers that are combined have different numbers of files"
    if refusal and wanted is AutoShardPolicy.AUTO:
        return AutoShardPolicy.DATA, refusal
    if refusal:
        raise ValueError(
            at_line(
                f"auto-shard FILE: {refusal}; use Dataset.from_files for all data, or the policy "
                "DATA"
            )
        )
    for reader in readers:
        if len(reader.files) < workers:
            raise ValueError(
                at_line(
                    f"auto-shard FILE: {len(reader.files)} file(s) for {workers} workers "
                    f"({_some(reader.files)}); there must be one for each at least; write more "
                    "files, or use the policy DATA: options.experimental_distribute."
                    "auto_shard_policy = 'DATA'"
                )
            )
    return AutoShardPolicy.FILE, "files are read" if wanted is AutoShardPolicy.AUTO else ""


def _decide_reproducible(wanted: AutoShardPolicy) -> tuple[AutoShardPolicy, str]:
    if wanted in (AutoShardPolicy.FILE, AutoShardPolicy.OFF):
        raise ValueError(
            at_line(
                f"auto-shard {wanted.name}: which rows a replica gets depends on the number of "
                "workers, and the strategy is reproducible; use the policy DATA (or AUTO), or "
                "leave reproducible=True out"
            )
        )
    return AutoShardPolicy.DATA, "" if wanted is AutoShardPolicy.DATA else "reproducible"


def _makings(dataset: Dataset) -> Iterator[Making]:
    yield dataset._making
    for source in dataset._making.inputs:
        yield from _makings(source)


def _file_readers(dataset: Dataset) -> list[Making]:
    return [m for m in _makings(dataset) if m.files]


def _with_files_of(dataset: Dataset, workers: int, worker: int) -> Dataset:
    """The same pipeline over every ``workers``-th file, from the ``worker``-th."""

    def again(d: Dataset) -> Dataset:
        making = d._making
        if making.files:
            return making.again(making.files[worker::workers])
        inputs = [again(source) for source in making.inputs]
        if making.kind == "random map":
            # Elements of different files have the same index here: the worker tells them apart.
            return making.again(*inputs, salt=worker)
        return making.again(*inputs)

    return again(dataset)


def _check_batched(dataset: Dataset) -> None:
    if not _is_batched(dataset):
        raise ValueError(
            at_line(
                "distribute: the dataset is not batched; what replicas share is the global batch: "
                "end it with .batch(size of the global batch)"
            )
        )


def _is_batched(dataset: Dataset) -> bool:
    making = dataset._making
    if making.kind == "batch" or making.files or making.kind == "from_generator":
        return True  # a generator may yield batches
    return bool(making.inputs) and all(_is_batched(d) for d in making.inputs)


def _some(files: tuple[str, ...]) -> str:
    return ", ".join(files[:3]) + (f", … {files[-1]}" if len(files) > 3 else "")


Agree = Callable[[int], int]


def check_agreement(plan: ShardPlan, agree: Agree) -> None:
    """Raises ValueError on every worker where plans differ; ``agree`` gives the maximum of all."""
    largest, smallest = agree(plan.fingerprint), -agree(-plan.fingerprint)
    if largest != smallest:
        raise ValueError(
            at_line(
                "distribute: the workers' datasets differ in transforms, files or number of "
                f"elements; this worker's plan is\n{plan.text}\nmake the same dataset on all, with "
                "the files in the same order"
            )
        )
