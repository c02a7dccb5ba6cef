"""Messages of protocol buffers as plain lookups, over the reader that the artifact scanner has."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from casemate.attacks.supply._finding import Data
from casemate.attacks.supply._onnx import fields

_MOST_TEXT = 1 << 16


class Steps:
    """How many fields may still be read, over all messages of a file."""

    def __init__(self, left: int) -> None:
        self.left = left


class Message:
    """One message: the spans of its fields by number. Reads lazily, one level at a time.

    Args:
        most: After so many fields the rest is left alone: enough for the head of a long list of numbers.

    Raises:
        ValueError: It is not well formed, or has more fields than are left.
    """

    def __init__(self, data: Data, start: int, end: int, steps: Steps, most: int | None = None) -> None:
        self._data, self._steps, self._span = data, steps, (start, end)
        self._found: dict[int, list[tuple[int, int, int]]] = {}
        for number, wire, a, b in islice(fields(data, start, end), most):
            steps.left -= 1
            if steps.left < 0:
                raise ValueError("too many fields")
            self._found.setdefault(number, []).append((wire, a, b))

    def inner(self, number: int, most: int | None = None) -> Iterator[Message]:
        """The messages in a field."""
        for wire, a, b in self._found.get(number, ()):
            if wire == 2:
                yield Message(self._data, a, b, self._steps, most)

    def exceeds(self, number: int, limit: int) -> bool:
        """Whether a varint in a field is greater. Reads from the start of the message, no further than the first that is."""
        for found, wire, a, b in fields(self._data, *self._span):
            self._steps.left -= 1
            if self._steps.left < 0:
                raise ValueError("too many fields")
            if found == number and any(value > limit for value in ([a] if wire == 0 else self._packed(a, b))):
                return True
        return False

    def one(self, number: int) -> Message | None:
        """The last message in a field, which is the one that counts."""
        spans = [(a, b) for wire, a, b in self._found.get(number, ()) if wire == 2]
        return Message(self._data, *spans[-1], self._steps) if spans else None

    def texts(self, number: int) -> list[str]:
        """The strings in a field; bytes that are no UTF-8 are replaced."""
        spans = [(a, b) for wire, a, b in self._found.get(number, ()) if wire == 2]
        return [bytes(self._data[a : min(b, a + _MOST_TEXT)]).decode("utf-8", "replace") for a, b in spans]

    def text(self, number: int) -> str:
        """The last string in a field, or nothing."""
        return (self.texts(number) or [""])[-1]

    def numbers(self, number: int) -> list[int]:
        """The varints in a field, packed or not."""
        values: list[int] = []
        for wire, a, b in self._found.get(number, ()):
            if wire == 0:
                values.append(a)
            elif wire == 2:
                values += self._packed(a, b)
        return values

    def number(self, number: int) -> int | None:
        """The last varint in a field."""
        found = self.numbers(number)
        return found[-1] if found else None

    def count(self, number: int) -> int:
        """How often a field is there; of packed numbers, in bytes."""
        return sum(b - a if wire == 2 else 1 for wire, a, b in self._found.get(number, ()))

    def _packed(self, at: int, end: int) -> Iterator[int]:
        value = shift = 0
        for place in range(at, end):
            self._steps.left -= 1
            if self._steps.left < 0 or shift > 63:
                raise ValueError("too many fields, or an integer is not ended")
            byte = self._data[place]
            value, shift = value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                yield value
                value = shift = 0
