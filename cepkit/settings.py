"""What a configuration or a file that we wrote may hold: fields checked when they are made, and values read back from JSON."""

import dataclasses
import math
import reprlib
import sys
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin, get_type_hints

from cepkit.validation import LARGEST_INTEGER, check_name, check_number

Size = Annotated[int, 1, 10**6]  # of a point, a state or an action
Steps = Annotated[int, 1, LARGEST_INTEGER]
_WORDS = {str: "a text", bool: "true or false", int: "an integer", float: "a finite number", list: "a list", dict: "a mapping"}
_MOST_VALUES = 100  # in a sequence of settings


def setting(default: object, *, low: float = -math.inf, high: float = math.inf, choices: Iterable = ()) -> object:
    """A field of `Configuration` with its default and what it may hold.

    The default decides the kind: True or False, an integer, a number, one of the names in `choices`, or a sequence of at least
    one of these (names each once).
    """
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "choices": tuple(choices)})


class Configuration:
    """Base of the frozen dataclasses that hold a configuration: checked when made, written to JSON and read back.

    Numbers of any library become plain ones. A field whose annotation has no default is left to the subclass.

    Attributes:
        title: what error messages call the mapping that is read.
        fixed: settings of earlier versions, with the value that is now the only one.

    Raises:
        ValueError: a value of another kind or out of range; the message names the field.
    """

    title: ClassVar[str] = "config"
    fixed: ClassVar[Mapping[str, object]] = {}

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            if entry.default is not dataclasses.MISSING:
                value = _checked_setting(entry.name, getattr(self, entry.name), entry.default, entry.metadata)
                object.__setattr__(self, entry.name, value)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The configuration that `to_dict` described; missing keys take their defaults, and `fixed` settings are dropped.

        Raises:
            ValueError: no mapping, an unknown key (by name), a value out of range, or one without a default that is missing.
        """
        current = {key: value for key, value in values.items() if key not in cls.fixed} if isinstance(values, Mapping) else values
        check_keys(current, cls, name=cls.title)
        for key in values.keys() - current.keys():
            if values[key] != cls.fixed[key]:
                raise ValueError(f"{key}: expected {cls.fixed[key]!r}, the only value in this version, got {values[key]!r}")
        for entry in dataclasses.fields(cls):
            if entry.default is dataclasses.MISSING and entry.name not in current:
                raise ValueError(f"{cls.title}: expected a {entry.name}, got none")
        return cls(**current)


def _checked_setting(name: str, value: object, default: object, limits: Mapping[str, object]) -> object:
    if isinstance(default, tuple):
        if not isinstance(value, (tuple, list)) or not 0 < len(value) <= _MOST_VALUES:
            raise ValueError(f"{name}: expected a sequence of 1 to {_MOST_VALUES} values, got {reprlib.repr(value)}")
        checked = tuple(_checked_setting(name, part, default[0], limits) for part in value)
        if isinstance(default[0], str) and len(set(checked)) != len(checked):
            raise ValueError(f"{name}: expected each name once, got {value!r}")
        return checked
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{name}: expected True or False, got {value!r}")
        return value
    choices, low, high = (limits.get(key, other) for key, other in (("choices", ()), ("low", -math.inf), ("high", math.inf)))
    if isinstance(default, str):
        return check_name(value, choices, name=name)
    whole = isinstance(default, int)
    return check_number(value, name=name, low=low, high=min(high, LARGEST_INTEGER) if whole else high, integer=whole)


def check_keys(values: Mapping[str, object], kind: type, *, name: str) -> None:
    """Refuse settings that the dataclass `kind` does not have, by name, and what is no mapping at all."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: expected a mapping of settings, got {type(values).__name__}")
    for key in values:
        check_name(key, [entry.name for entry in dataclasses.fields(kind)], name=f"{name} key")


def parsed(value: object, kind: Any, place: str) -> Any:
    """Return a value read from JSON as an annotation asks.

    Args:
        kind: a text, number or truth value, `Annotated[int, low, high]`, `X | None`, `list[X]`, `dict[str, X]`, a `Configuration`
            or a dataclass. Its fields without a default must be there; further keys are let be.
        place: of the value in its file, for messages.

    Raises:
        ValueError: it is of another kind; the message names place, expectation and value.
    """
    plain, parts = get_origin(kind) or kind, get_args(kind)
    if NoneType in parts:
        return None if value is None else parsed(value, parts[0], place)
    if plain is Annotated:
        return check_number(parsed(value, parts[0], place), name=place, low=parts[1], high=parts[2], integer=True)
    at, inner = f"{place}: " if place else "", f"{place}." if place else ""
    if issubclass(plain, Configuration):
        try:
            made = plain.from_dict(value)
        except ValueError as error:
            raise ValueError(f"{at}{error}") from error
        missing = [name for name in made.to_dict() if name not in value]
        if missing:  # a default might not be what it was
            raise ValueError(f"{at}expected the key {missing[0]}, found {', '.join(value)}")
        return made
    if plain in (int, float):
        largest = LARGEST_INTEGER if plain is int else sys.float_info.max
        right = type(value) in (int, plain) and abs(value) <= largest
    else:
        right = type(value) is (plain if plain in _WORDS else dict)
    if not right:
        raise ValueError(f"{at}expected {_WORDS.get(plain, 'a mapping')}, got {reprlib.repr(value)}")
    if plain is list and parts:
        return [parsed(part, parts[0], f"{place}[{index}]") for index, part in enumerate(value)]
    if plain is dict and parts:
        return {key: parsed(part, parts[1], f"{inner}{key}") for key, part in value.items()}
    if plain in _WORDS:
        return value
    hints, needed = get_type_hints(plain, include_extras=True), dataclasses.MISSING
    for entry in dataclasses.fields(plain):
        if entry.name not in value and entry.default is needed:
            raise ValueError(f"{at}expected the key {entry.name}, found {', '.join(value) or 'none'}")
    return plain(**{name: parsed(value[name], hints[name], f"{inner}{name}") for name in hints if name in value})
