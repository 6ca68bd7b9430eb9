"""Options of a framework: each is declared once, as a field of a dataclass.

The metadata of a field is an :class:`Option`: how a value is written, what it must be,
what it means. From it come the options of commands (``fdtcore.launcher.cli_options``),
the variables of the environment, what ``help`` shows, the table of the README and the
page docs/options.md (``fdtcore.option_tables``)::

    @options.documented
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Options(options.FrameworkOptions):
        program: ClassVar[str] = "hfdt"
        accumulate: int = field(default=1, metadata=count("Steps of one update."))
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import os
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, ParamSpec, TypeVar

from fdtcore import text_values
from fdtcore.keras_types import Optimizer
from fdtcore.validation import demand, is_count, is_number

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound="FrameworkOptions")

# What commands tell the processes that they start, under every framework.
_SWITCHES = {
    "VERBOSE": "TensorFlow's and MPI's messages are shown",
    "DEBUG": "tracebacks keep the framework's own frames",
    "PLAIN": "rank 0's output goes to no terminal",
}
_INTERNAL = {
    "JOB_DIR": "folder of the job: the output of its ranks, its failure",
    "ADDRESS": "address of the process that keeps the control line",
    "LAUNCHER": "machine on which the command was started",
    "PROGRESS": "folder in which rank 0 notes how far an elastic job is",
    "CALL": "function that ranks on several machines call, and its arguments",
}


@dataclasses.dataclass(frozen=True)
class Option:
    """What is declared of an option beside its name, type and default.

    Args:
        help: What it means, one sentence; backticks mark code.
        rule: What a value must be, as in ``"must be an integer >= 1"``; empty where
            only the dataclass as a whole can tell.
        holds: Whether a value keeps the rule.
        read: Reads a value from its text; None where Python alone can give one.
        metavar: What stands for a value in the help of commands.
        way_out: What to write instead of a wrong value, one sentence.
        known: All values there are; empty where they cannot be listed.
        unit: Unit of a value, in full; empty for none.
        details: What the documents say beyond ``help``.
        has_flag: Whether commands have it.
        is_switch: Whether a command switches it on by its bare name.
        flag_value: The value that a command's bare ``--NAME-VALUE`` gives, which then
            stands in place of ``--NAME VALUE``.
        is_folder: Whether a command takes its value from the current folder.
        words: Values that are no folder, where others are.
    """

    help: str
    rule: str = ""
    holds: Callable[[Any], bool] = lambda value: True
    read: Callable[[str], Any] | None = str
    metavar: str = ""
    way_out: str = ""
    known: tuple[str, ...] = ()
    unit: str = ""
    details: str = ""
    has_flag: bool = True
    is_switch: bool = False
    flag_value: str = ""
    is_folder: bool = False
    words: tuple[str, ...] = ()

    @property
    def meaning(self) -> str:
        """What it means, and the unit of its value."""
        return f"{self.help[:-1]} (in {self.unit})." if self.unit else self.help

    @property
    def is_bare(self) -> bool:
        """Whether a command takes it without a value."""
        return self.is_switch or bool(self.flag_value)

    def flag(self, name: str) -> str:
        """Returns the option of a command that sets a field of a name."""
        words = [name, *([self.flag_value] if self.flag_value else [])]
        return f"--{'-'.join(words).replace('_', '-')}"

    def check(self, name: str, value: object) -> None:
        """Refuses a value that breaks the rule.

        Args:
            name: Name of the field, for the message.
            value: Value to check, of the field's type.

        Raises:
            ValueError: The value breaks the rule.
        """
        self._demand(self.holds(value), name, value)

    def parse(self, name: str, text: str) -> Any:
        """Returns the value that a text means.

        Args:
            name: What the user has written: ``--flag`` or variable.
            text: What stands there as the value.

        Raises:
            ValueError: The text means no value, or one that breaks the rule.
        """
        assert self.read is not None, name
        value, is_read = None, False
        with contextlib.suppress(ValueError):
            value, is_read = self.read(text), True
        self._demand(is_read and self.holds(value), name, text)
        return value

    def write(self, value: Any) -> str | None:
        """Returns the text that means a value; None where there is none.

        Args:
            value: It, as the rule demands.
        """
        text: str | None = None
        if isinstance(value, bool):
            text = str(int(value))
        elif isinstance(value, str | os.PathLike):
            text = os.fspath(value)
        elif isinstance(value, numbers.Real):
            text = str(value)
        if self.is_folder and text and text not in self.words:
            value = text = os.path.abspath(text)
        if self.read is None or text is None or self.read(text) != value:
            return None
        return text

    def _demand(self, holds: bool, name: str, received: object) -> None:
        near = difflib.get_close_matches(str(received), self.known, n=1)
        way_out = f"Did you mean {near[0]}?" if near else self.way_out
        demand(holds, f"{name} {self.rule}", way_out, **{name: received})


Metadata = dict[str, Any]


def custom(help: str, **more: Any) -> Metadata:
    """Declares an option of a kind of its own; arguments are those of `Option`."""
    return {"option": Option(help, **more)}


def choice(known: tuple[str, ...], help: str, **more: Any) -> Metadata:
    """Declares a choice among words; on command lines ``-`` may stand for ``_``."""
    return custom(
        help,
        rule=f"must be one of {', '.join(known)}",
        holds=lambda value: value in known,
        read=lambda text: text.replace("-", "_") if "_" in "".join(known) else text,
        way_out=f"Write {known[0]}.",
        known=known,
        **{"metavar": "|".join(word.replace("_", "-") for word in known), **more},
    )


def count(help: str, *, at_least: int = 1, **more: Any) -> Metadata:
    """Declares an integer."""
    return custom(
        help,
        rule=f"must be an integer >= {at_least}",
        holds=lambda value: is_count(value, at_least),
        read=lambda text: text_values.read_integer(text, at_least),
        metavar="N",
        **{"way_out": f"Write {at_least} or more.", **more},
    )


def duration(help: str, *, endless: bool = False, **more: Any) -> Metadata:
    """Declares a time > 0, in seconds.

    Args:
        help: What it means, one sentence, as for `Option`.
        endless: Whether ``inf`` is one.
        **more: Further arguments of `Option`; they win over those made here.
    """

    def holds(value: object) -> bool:
        is_time = is_number(value, at_least=0) and value != 0
        return is_time or (endless and value == math.inf)

    def read(text: str) -> float:
        is_endless = endless and text.strip().lower() == "inf"
        return math.inf if is_endless else text_values.read_s(text)

    bound = ", or inf for no limit" if endless else ""
    return custom(
        help,
        rule="must be a number of seconds > 0",
        holds=holds,
        read=read,
        metavar="TIME",
        way_out=f"On a command line or in a variable write 30s, 5min or 1h{bound}.",
        unit="seconds",
        **more,
    )


def switch(help: str, **more: Any) -> Metadata:
    """Declares something that is on or off."""
    return custom(
        help,
        rule="must be on or off",
        holds=lambda value: isinstance(value, bool),
        read=text_values.read_bool,
        way_out=f"Write one of {', '.join(text_values.TRUE)}, or one of "
        f"{', '.join(text_values.FALSE)}; in Python True or False.",
        is_switch=True,
        **more,
    )


def log() -> Metadata:
    """Declares what is logged."""
    return choice(
        ("none", "messages"),
        "`messages`: each message between processes is logged, with its size and time.",
        flag_value="messages",
        details="By Python's `logging`, to a file of each process in the folder of "
        "the job's output; without such a folder to standard error. Messages are "
        "those of workers and servers, Horovod's operations, or what the workers of a "
        "simulation send.",
    )


def interface() -> Metadata:
    """Declares the network of a job on several machines."""
    return custom(
        "Network over which the processes of several machines talk: an interface as "
        "`eth1`, or a network as `10.0.0.0/24`.",
        rule="must be the name of an interface, or a network",
        holds=lambda value: isinstance(value, str),
        metavar="NAME|NETWORK",
        way_out="Write for example eth1, or 10.0.0.0/24.",
        details="Found by itself where machines are named with `-H` or a host file. "
        "Used for the control line, and for Open MPI where that was not told another. "
        "The variable `HFDT_ADDRESS` or `NFDT_ADDRESS` sets the address of the one "
        "process that keeps the control line: rank 0, or the first server.",
    )


def link_timeout() -> Metadata:
    """Declares how long another machine may be out of reach."""
    return duration(
        "Time after which a machine counts as lost that cannot be reached.",
        details="A process that is stopped or busy does not count: its machine "
        "answers. A link that is back within the time is as if nothing had been.",
    )


def folder(help: str, **more: Any) -> Metadata:
    """Declares a folder; an empty text is none."""
    return custom(
        help,
        rule="must be a folder",
        holds=lambda value: isinstance(value, str | os.PathLike),
        way_out="Write its path.",
        is_folder=True,
        **{"metavar": "DIR", **more},
    )


def options_of(cls: type[FrameworkOptions]) -> dict[str, Option]:
    """Returns what each field of a dataclass declares, by the fields' names."""
    return {f.name: f.metadata["option"] for f in dataclasses.fields(cls)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameworkOptions:
    """The options of one framework; a subclass declares each as a field."""

    program: ClassVar[str]  # the framework's command; its variables begin with it
    # Further variables, by their names behind the prefix: what each is for. Those of
    # `switches` are on or off.
    switches: ClassVar[Mapping[str, str]] = {}
    internal: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        for name, option in options_of(type(self)).items():
            option.check(name, getattr(self, name))

    def difference(self, other: FrameworkOptions) -> str:
        """Names the fields in which two sets of options differ, with both values."""
        pairs = [
            f"{f.name}={getattr(self, f.name)!r} and {getattr(other, f.name)!r}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        ]
        return ", ".join(pairs)

    @classmethod
    def variable(cls, name: str) -> str:
        """Returns the variable that sets a field."""
        return f"{cls.program.upper()}_{name.upper()}"

    def to_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Turns options into variables for processes that are yet to start.

        Args:
            environ: Their environment: what it sets otherwise is set as well.

        Raises:
            ValueError: A value can be given in Python alone.
        """
        found = {}
        for field in dataclasses.fields(self):
            value, variable = getattr(self, field.name), self.variable(field.name)
            if value == field.default and variable not in environ:
                continue
            text = field.metadata["option"].write(value)
            demand(
                text is not None,
                f"{field.name} must be a text or a number where other processes get it",
                f"Give it to {self.program}.distribute, inside the function.",
                **{field.name: value},
            )
            found[variable] = str(text)
        return found

    @classmethod
    def from_environ(cls: type[T], environ: Mapping[str, str], **given: Any) -> T:
        """Reads variables such as ``HFDT_BATCH``; an argument that is given wins.

        Args:
            environ: The environment of a process, as a launcher has set it.
            **given: Values of fields, by name, in place of the variables'.

        Raises:
            ValueError: A variable is unknown, or a value is wrong.
        """
        refuse_unknown(cls, environ)
        values = {
            name: option.parse(cls.variable(name), environ[cls.variable(name)])
            for name, option in options_of(cls).items()
            if option.read is not None
            and cls.variable(name) in environ
            and name not in given
        }
        return cls(**values, **given)

    @classmethod
    def to_variables(
        cls, choices: Mapping[str, str | bool | None], **switches: bool
    ) -> dict[str, str]:
        """Turns options of a command line into variables for the ranks.

        Args:
            choices: Field and text of each option; None or False where it was not
                given.
            **switches: Further variables that are on or off, in small letters.

        Raises:
            ValueError: A value is wrong; it is named as on the command line.
        """
        found = {cls.variable(name): "1" for name, is_on in switches.items() if is_on}
        for name, value in choices.items():
            if value is None or value is False:
                continue
            option = options_of(cls)[name]
            text = (option.flag_value or "1") if value is True else str(value)
            option.parse(option.flag(name), text)
            is_path = option.is_folder and text and text not in option.words
            found[cls.variable(name)] = os.path.abspath(text) if is_path else text
        return found


def listed(
    cls: type[FrameworkOptions],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Shows options among the keywords of a function, in place of its ``**``.

    For editors and ``help``: the function itself takes them by `keywords`.

    Args:
        cls: The framework's class of options, whose fields the function takes.
    """

    def add(function: Callable[P, R]) -> Callable[P, R]:
        shown = inspect.signature(function)
        own = [p for p in shown.parameters.values() if p.kind != p.VAR_KEYWORD]
        fields = [
            inspect.Parameter(
                *(f.name, inspect.Parameter.KEYWORD_ONLY),
                default=f.default,
                annotation=f.type,
            )
            for f in dataclasses.fields(cls)
        ]
        vars(function)["__signature__"] = shown.replace(parameters=own + fields)
        return function

    return add


def refuse_unknown(cls: type[FrameworkOptions], environ: Mapping[str, str]) -> None:
    """Refuses variables that begin like a framework's and are none of them.

    Args:
        cls: The options of the framework.
        environ: The environment of a process.

    Raises:
        ValueError: A variable is unknown, or one that is on or off is neither.
    """
    begin, program = cls.variable(""), cls.program
    fields = {cls.variable(n): n for n, o in options_of(cls).items() if o.read}
    switches = {cls.variable(name) for name in (*_SWITCHES, *cls.switches)}
    internal = {cls.variable(name) for name in (*_INTERNAL, *cls.internal)}
    known = [*fields, *switches, *internal]
    for name in sorted(n for n in environ if n.startswith(begin)):
        suffix = name.removeprefix(begin).lower()
        near = difflib.get_close_matches(name, known, n=1)
        way_out = f"Unset it; {program} run --help lists what there is."
        if suffix in options_of(cls):
            way_out = f"Give {suffix} to {program}.distribute."
        elif near:
            way_out = f"Did you mean {near[0]}?"
        demand(
            name in known,
            f"a variable {begin}* must be one that {program} knows",
            way_out,
            **{name: environ[name]},
        )
        if name in switches:
            _SWITCH.parse(name, environ[name])


def check_compile_arguments(
    cls: type[FrameworkOptions],
    optimizer: Optimizer | str | None,
    arguments: Mapping[str, Any],
) -> None:
    """Refuses arguments of ``compile`` where nothing is compiled.

    Often one is an option, misspelt: else it would be dropped silently.

    Args:
        cls: The framework's class of options, whose names are suggested.
        optimizer: What is to be compiled with; None for nothing.
        arguments: Those of ``compile``, by name.

    Raises:
        TypeError: Arguments are given without an optimizer.
    """
    if optimizer is None and arguments:
        names = list(options_of(cls))
        near = [difflib.get_close_matches(n, names, n=1) for n in arguments]
        found = [words[0] for words in near if words]
        raise TypeError(
            "arguments of compile need an optimizer. Received: "
            f"{', '.join(arguments)} without one. "
            + (f"Did you mean {found[0]}?" if found else "Pass the optimizer as well.")
        )


def is_set(environ: Mapping[str, str], variable: str) -> bool:
    """Whether a variable that is on or off is on; without it, it is off."""
    return environ.get(variable, "").strip().lower() in text_values.TRUE


_SWITCH: Option = switch("")["option"]


def arguments(cls: type[FrameworkOptions]) -> str:
    """Returns what each field means, as the ``Args`` of a docstring have it."""
    lines = []
    for name, option in options_of(cls).items():
        text = f"{name}: {option.meaning} {option.details}".replace("`", "``")
        lines += textwrap.wrap(text, 84, subsequent_indent="    ")
    return "\n".join(lines)


def documented(cls: type[T]) -> type[T]:
    """Completes the docstring of a dataclass by what its fields declare."""
    cls.__doc__ = f"{cls.__doc__}\n\n    Args:\n{_indented(cls)}\n    "
    return cls


def _indented(cls: type[FrameworkOptions]) -> str:
    return textwrap.indent(arguments(cls), " " * 8)


def keywords(
    cls: type[FrameworkOptions],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Lets a function take options by name, and gives them to it as ``options``.

    The function lists the fields among its keywords, for editors and ``help``, and
    reads them in ``options``: a keyword that is not given is as the environment says,
    which the function's own default could not tell.

    Args:
        cls: The framework's class of options, whose fields the function takes.
    """
    names = [f.name for f in dataclasses.fields(cls)]

    def add(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> R:
            values = {name: given.pop(name) for name in names if name in given}
            options = given.get("options")
            demand(
                options is None or not values,
                "options must be given once: as one object, or by name",
                "Put them into options, or leave options out.",
                options=options,
                **values,
            )
            if options is None:
                given["options"] = cls.from_environ(os.environ, **values)
            return function(*args, **given)

        call.__doc__ = f"{function.__doc__}\n\n    Options:\n{_indented(cls)}\n    "
        return call

    return add
