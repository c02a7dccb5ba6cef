"""Who leads to whom, for all elements at once: sets of elements as bits of an integer, spread over a graph with cycles.

One walk over the graph answers for every element together what a search from each would answer one by one. Elements
that lead to each other have the same answer, so the graph is first folded into its strongly connected parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places(Collection[str]):
    """A set of elements. `mask` has the bit of each; `index` gives the bit of an id and `ids` the id of a bit."""

    mask: int
    index: Mapping[str, int]
    ids: Sequence[str]

    def __contains__(self, id: object) -> bool:
        bit = self.index.get(id)  # type: ignore[call-overload]
        return bit is not None and self.mask >> bit & 1 == 1

    def __iter__(self) -> Iterator[str]:
        return (self.ids[bit] for bit in bits(self.mask))

    def __len__(self) -> int:
        return self.mask.bit_count()

    def __or__(self, other: Places) -> Places:
        return Places(self.mask | other.mask, self.index, self.ids)

    def __and__(self, other: Places) -> Places:
        return Places(self.mask & other.mask, self.index, self.ids)

    def without(self, id: str) -> Places:
        """The set without one of its elements."""
        return Places(self.mask & ~(1 << self.index[id]), self.index, self.ids)


def bits(mask: int) -> Iterator[int]:
    """The bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def spread(after: Sequence[Sequence[int]], own: Sequence[int]) -> list[int]:
    """For every node the union of `own` over all nodes that it leads to, itself included.

    Args:
        after: The nodes that each node leads to in one step.
        own: A set of bits for each node; what the bits mean is the caller's business.
    """
    found = [0] * len(after)
    for part in parts(after):  # whatever a part leads to comes before it
        union = 0
        for node in part:
            union |= own[node]
            for next_ in after[node]:
                union |= found[next_]
        for node in part:
            found[node] = union
    return found


def parts(after: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """The strongly connected parts of a graph, each after every part that it leads to (Tarjan's way, without recursion)."""
    order = [0] * len(after)  # when a node was first met, from 1; 0: not yet
    lowest = [0] * len(after)
    held = [False] * len(after)
    stack: list[int] = []
    met = 0
    for root in range(len(after)):
        if order[root]:
            continue
        path = [(root, iter(after[root]))]
        met += 1
        order[root] = lowest[root] = met
        stack.append(root)
        held[root] = True
        while path:
            node, rest = path[-1]
            for next_ in rest:
                if not order[next_]:
                    met += 1
                    order[next_] = lowest[next_] = met
                    stack.append(next_)
                    held[next_] = True
                    path.append((next_, iter(after[next_])))
                    break
                if held[next_]:
                    lowest[node] = min(lowest[node], order[next_])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == order[node]:
                    yield _popped(stack, held, node)


def _popped(stack: list[int], held: list[bool], root: int) -> list[int]:
    part: list[int] = []
    while not part or part[-1] != root:
        part.append(stack.pop())
        held[part[-1]] = False
    return part
