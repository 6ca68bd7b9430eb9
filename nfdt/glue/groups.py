"""The groups of variables that a worker trains."""

from __future__ import annotations

import dataclasses
import json
import math
import weakref
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fdtcore import output
from fdtcore.engine import Collectives
from fdtcore.glue.wrappers import steps_of
from fdtcore.keras_types import Model, Optimizer, Variable
from fdtcore.process import Process
from nfdt import algorithms
from nfdt.algorithms import Algorithm
from nfdt.glue import learning_rates, optimizer_config, server_optimizer, shard_factory
from nfdt.glue.compression import GradientCompression
from nfdt.glue.local_training import OptimizerPlacement
from nfdt.glue.optimizer_state import build, follow, optimizers_of, path_of
from nfdt.glue.variable_group import VariableGroup, dtype_of
from nfdt.options import Options
from nfdt.protocol.client import NotFinite, ShardedVector
from nfdt.protocol.gradients import narrower
from nfdt.protocol.group_spec import GroupSpec, size_of
from nfdt.protocol.transport import Transport


class VariableGroups:
    """All groups of this worker.

    Args:
        transport: The way to the servers.
        process: This worker among the workers.
        options: The user's options: the algorithm and the types on the way are read.
        placement: Which optimizer runs where.
        over: From epoch and number of a batch to how many epochs were over before it.
    """

    def __init__(
        self,
        transport: Transport,
        process: Process,
        options: Options,
        placement: OptimizerPlacement,
        over: Callable[[int, int], float],
    ):
        self._transport, self._process, self._options = transport, process, options
        self._found: weakref.WeakKeyDictionary[Any, dict[tuple, VariableGroup]] = (
            weakref.WeakKeyDictionary()
        )
        self._ordinals: weakref.WeakKeyDictionary[Any, int] = (
            weakref.WeakKeyDictionary()
        )
        self._count = 0  # optimizers so far
        self._wrappers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self.placement, self._over = placement, over
        # Held, so that no new variable gets the identity of an old one.
        self._retired: dict[tuple, VariableGroup] = {}
        self._replaced: set[tuple] = set()  # in the fit that runs

    def note(self, optimizer: Optimizer) -> int:
        """Numbers an optimizer; all workers come across them in the same order.

        They do not open their groups so: a slow worker may get no batch of a fit.
        """
        if optimizer not in self._ordinals:
            self._ordinals[optimizer] = self._count
            self._count += 1
        return self._ordinals[optimizer]

    def note_wrapper(self, optimizer: Optimizer) -> None:
        """Notes an optimizer that hands its steps on to those that have groups."""
        self._wrappers.add(optimizer)

    def of_optimizer(self, optimizer: Optimizer) -> list[VariableGroup]:
        """Returns the groups that an optimizer trains, so far."""
        return list(self._found.get(optimizer, {}).values())

    def of(self, optimizer: Optimizer, variables: Sequence[Variable]) -> VariableGroup:
        """Returns the group of some variables, opened on the servers at first.

        Raises:
            ValueError: The algorithm and the optimizer do not go together.
            Refused: Another worker trains other variables.
        """
        groups = self._found.setdefault(optimizer, {})
        key = tuple(id(v) for v in variables)
        if key not in groups:
            self._replace(groups, key)
            groups[key] = self._reopened(key) or self._open(optimizer, variables)
        return groups[key]

    def begin_fit(self) -> None:
        """Lets an optimizer train other variables than before, but as it did.

        Raises:
            ValueError: An optimizer was changed in a way that servers cannot follow.
        """
        self._replaced.clear()
        for group in self._all():
            served = self.placement.on_servers(group.optimizer)
            optimizer_config.check_unchanged(served, group.config)

    def _replace(self, groups: dict[tuple, VariableGroup], key: tuple) -> None:
        """Lets go of groups that share variables with a new one."""
        if key in self._replaced:
            raise ValueError(
                "one optimizer trains one set of variables. Received: two overlapping "
                "sets in turn. Use one optimizer for each."
            )
        for other in [other for other in groups if set(other) & set(key)]:
            self._replaced.add(other)
            self._retired[other] = groups.pop(other)

    def _reopened(self, key: tuple) -> VariableGroup | None:
        """Takes up a group of an earlier fit, if there is one, with what is here."""
        group = self._retired.pop(key, None)
        if group is not None:
            group.vector.pull()
            group.bring_state()
            group.assign()
        return group

    def _open(
        self, optimizer: Optimizer, variables: Sequence[Variable]
    ) -> VariableGroup:
        algorithm = algorithms.find(self._options.algorithm)
        served = self.placement.on_servers(optimizer)
        config = optimizer_config.config_of(served)
        optimizer_config.check(served, config)
        shard_factory.check(algorithm, config, self._transport.num_servers)
        limits = server_optimizer.described(variables, self._transport.num_servers)
        dtype = dtype_of(variables)
        shapes = tuple((path_of(v), tuple(v.shape)) for v in variables)
        spec = GroupSpec(
            algorithm=algorithm.name,
            optimizer=config,
            variables=shapes,
            dtype=dtype,
            constraints=tuple(limits),
            undecayed=tuple(optimizer_config.undecayed(served, variables)),
            **_way(self._options, dtype),
        )
        compression = self._compression(served, algorithm, spec)
        if compression is not None:
            spec = dataclasses.replace(spec, optimizer=compression.served(config))
        vector = ShardedVector(
            self._transport,
            self._process.rank,
            _index(self.note(optimizer), shapes),
            [size_of(shape) for _, shape in shapes],
            dtype,
            spec.wire,
            spec.returned,
            compressor=None if compression is None else compression.compressor,
        )
        made = VariableGroup(
            vector,
            optimizer,
            variables,
            config=config,
            part=self.placement.worker_part(algorithm, config, vector.params),
            local_optimizer=self.placement.on_worker(optimizer),
            compression=compression,
        )
        vector.open(spec, made.flat())
        made.bring_state()
        made.assign()
        return made

    def _compression(
        self, served: Optimizer, algorithm: Algorithm, spec: GroupSpec
    ) -> GradientCompression | None:
        """Returns what is done to gradients that are sent in part; says so."""
        if self._options.compression is None:
            return None
        made = GradientCompression(
            self._options.compression,
            served,
            algorithm,
            self._process.size,
            spec.layout,
            spec.dtype,
            self._over,
        )
        for line in made.lines():
            output.say(self._process, line)
        return made

    def flush(self) -> None:
        """Ends what is under way between this worker and the servers."""
        for group in self._all():
            try:
                group.flush()
            except NotFinite as error:
                self.report(group, error)
                group.lose_steps()
                group.assign()

    @property
    def have_own_steps(self) -> bool:
        """Whether steps of this worker's own are in no push yet."""
        return any(group.has_own_steps for group in self._all())

    def reopen(self, model: Model, known: dict[int, GroupSpec]) -> None:
        """Opens the groups of an interrupted run before the first step of this one.

        A gradient must not be computed at values that the servers do not have.

        Args:
            model: The user's Keras model, built.
            known: Index -> spec of the groups; those that are opened go.
        """
        by_path = {path_of(v): v for v in model.trainable_variables}
        own = {self.note(one): one for one in steps_of(model.optimizer)}
        for index in [i for i in known if i >> _ORDINAL_BIT in own]:
            optimizer = own[index >> _ORDINAL_BIT]
            paths = [path for path, _ in known[index].variables]
            if not by_path.keys() >= set(paths):
                return
            del known[index]
            variables = [by_path[path] for path in paths]
            _build(model, optimizer, variables)
            self.of(optimizer, variables).follow_rate()

    def bring(self, optimizer: Optimizer) -> None:
        """Makes the servers go on from this worker's values, where they differ."""
        for group in self.under(optimizer):
            group.bring()

    def pull(self, variables: Sequence[Variable]) -> None:
        """Gives variables the servers' newest values, where they are trained."""
        wanted = {id(v) for v in variables}
        for group in self._all():
            if wanted & {id(v) for v in group.variables}:
                group.vector.pull()
                group.assign()

    def open_missing(self, model: Model, collectives: Collectives) -> None:
        """Opens what other workers train and this one, without a batch, has not."""
        optimizers = optimizers_of(model)
        own = [
            [[path_of(v) for v in g.variables] for g in self.of_optimizer(optimizer)]
            for optimizer in optimizers
        ]
        by_path = {v.path: v for v in model.trainable_variables}
        for text in collectives.allgather_text(json.dumps(own)):
            for optimizer, mine, theirs in zip(optimizers, own, json.loads(text)):
                for paths in theirs:
                    if paths not in mine and by_path.keys() >= set(paths):
                        mine.append(paths)
                        variables = [by_path[path] for path in paths]
                        _build(model, optimizer, variables)
                        self.of(optimizer, variables)

    def renew(self, variables: Sequence[Variable]) -> None:
        """As :meth:`pull`, but leaves alone what the program has set itself."""
        wanted = {id(v) for v in variables}
        for group in self._all():
            shared = wanted & {id(v) for v in group.variables}
            if shared and group.is_as_pulled():
                group.vector.pull()
                group.assign()

    def bring_changed(self, optimizer: Optimizer) -> None:
        """As :meth:`bring`, but by more than a rounding."""
        for group in self.under(optimizer):
            if not np.allclose(group.flat(), group.vector.params, 1e-4, 1e-6):
                group.bring()

    def agree_on_rate(self, optimizer: Optimizer, collectives: Collectives) -> None:
        """Gives all workers worker 0's learning rates, where they are numbers."""
        found = steps_of(optimizer)
        own = [learning_rates.of_number(one) for one in found]
        theirs = json.loads(collectives.broadcast_text(json.dumps(own)))
        for one, mine, rate in zip(found, own, theirs, strict=False):
            if not math.isnan(rate) and rate != mine:
                one.learning_rate = rate

    def under(self, optimizer: Optimizer) -> list[VariableGroup]:
        """Returns the groups of an optimizer, or of those that take its steps."""
        return [g for one in steps_of(optimizer) for g in self.of_optimizer(one)]

    def _all(self) -> list[VariableGroup]:
        return [g for groups in self._found.values() for g in groups.values()]

    def pull_all(self) -> None:
        """Gives all variables that are trained the servers' newest values."""
        for group in self._all():
            group.vector.pull()
            group.assign()

    def take_state(self, optimizer: Optimizer) -> None:
        """Gives an optimizer the state that the servers hold for it."""
        for group in self.under(optimizer):
            group.take_state()
        if optimizer is not None:
            follow(optimizer)

    def take_all_states(self) -> None:
        """Gives all optimizers the states that the servers hold for them."""
        for group in self._all():
            group.take_state()
        for wrapper in self._wrappers:
            follow(wrapper)

    def report(self, group: VariableGroup, error: NotFinite) -> None:
        """Says which worker and variable a refused gradient was of."""
        name = group.name_of(error.element)
        output.shout(
            f"worker {self._process.rank}: the gradient of {name} is NaN or infinite; "
            f"the server refused it ({error.in_a_row} in a row)."
        )


def _build(model: Model, optimizer: Optimizer, variables: Sequence[Variable]) -> None:
    """Builds one of a model's optimizers as its steps would, for some variables."""
    if model.optimizer is not None:
        build(model.optimizer, model.trainable_variables)
    shares = model.optimizer is not optimizer and optimizer in steps_of(model.optimizer)
    build(optimizer, variables if shares else model.trainable_variables)


def _way(options: Options, dtype: str) -> dict[str, Any]:
    """Returns how gradients and parameters travel, as fields of :class:`GroupSpec`."""
    chosen, full = options.compression, options.full_parameters
    if chosen is None:
        wire = dtype if options.wire == "own" else options.wire
        returned = dtype if full else narrower(dtype, wire)
        return {"wire": wire, "returned": returned}
    found = {"wire": dtype, "returned": dtype, "compression": options.wire.strip()}
    if chosen.is_sparse:
        return found | {"answered": 0.0 if full else chosen.ratio}
    # All elements have changed: there are no few of them that differ most.
    return found if full else found | {"returned": narrower(dtype, "bfloat16")}


_ORDINAL_BIT = 32


def _index(ordinal: int, shapes: Sequence[tuple[str, Any]]) -> int:
    """Returns a group's index: the optimizer's number, and what it trains."""
    paths = "\n".join(path for path, _ in shapes)
    return (ordinal << _ORDINAL_BIT) + zlib.crc32(paths.encode())
