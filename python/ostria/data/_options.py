# SPDX-License-Identifier: Apache-2.0
"""Options of a dataset, with tf.data's names: how it is shared among workers."""

from __future__ import annotations

import enum

from ostria._errors import at_line


class AutoShardPolicy(enum.Enum):
    """How the workers of a distributed job share a dataset.

    - AUTO: FILE where the dataset reads files, else DATA.
    - FILE: every worker reads files of its own; there must be at least one for each.
    - DATA: every worker reads everything and keeps its replicas' part of every global batch.
    - OFF: every worker works through everything.
    """

    AUTO = "auto"
    FILE = "file"
    DATA = "data"
    OFF = "off"

    @classmethod
    def of(cls, value: object) -> AutoShardPolicy:
        """A policy, or its name in any case.

        Raises:
          ValueError: it is neither.
        """
        if isinstance(value, cls):
            return value
        name = value.upper() if isinstance(value, str) else ""
        if name not in cls.__members__:
            raise ValueError(
                at_line(
                    f"auto_shard_policy is {value!r}; accepted are "
                    f"{', '.join(cls.__members__)}, as AutoShardPolicy or text"
                )
            )
        return cls[name]


class DistributeOptions:
    """Attributes: auto_shard_policy (AutoShardPolicy, by default AUTO)."""

    def __init__(self) -> None:
        self._policy = AutoShardPolicy.AUTO

    @property
    def auto_shard_policy(self) -> AutoShardPolicy:
        return self._policy

    @auto_shard_policy.setter
    def auto_shard_policy(self, value: AutoShardPolicy | str) -> None:
        self._policy = AutoShardPolicy.of(value)


class Options:
    """What ``Dataset.with_options`` takes.

    Attributes: experimental_distribute (DistributeOptions).

    >>> from ostria.data import Dataset, Options
    >>> options = Options()
    >>> options.experimental_distribute.auto_shard_policy = "DATA"
    >>> batches = Dataset.range(4).with_options(options).batch(2)
    >>> batches.options().experimental_distribute.auto_shard_policy
    <AutoShardPolicy.DATA: 'data'>
    """

    def __init__(self) -> None:
        self.experimental_distribute = DistributeOptions()
