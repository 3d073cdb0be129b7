"""Circles among things that need each other."""

from collections.abc import Mapping, Sequence


def cycles(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """One circle for each group of names that need each other, in the direction of the data.

    Found by removing what needs nothing that is left. Names that nothing declares need nothing.
    """
    left = {name: list(needed) for name, needed in needs.items()}
    while True:
        free = [name for name, needed in left.items() if not any(each in left for each in needed)]
        if not free:
            break
        for name in free:
            del left[name]
    found: list[list[str]] = []
    while left:
        cycle = _walk(left)
        found.append(cycle)
        left = _without(left, set(cycle))
    return found


def _walk(left: Mapping[str, Sequence[str]]) -> list[str]:
    """A circle, found by going from need to need until a name comes again; it begins with the one that comes first."""
    path = [next(iter(left))]
    while (following := next(each for each in left[path[-1]] if each in left)) not in path:
        path.append(following)
    cycle = path[path.index(following) :][::-1]
    first = cycle.index(next(name for name in left if name in cycle))
    return cycle[first:] + cycle[:first]


def _without(left: Mapping[str, list[str]], gone: set[str]) -> dict[str, list[str]]:
    """What is left without some names and without those that need them, directly or not."""
    while True:
        hit = {name for name, needed in left.items() if gone & set(needed)} - gone
        if not hit:
            return {name: needed for name, needed in left.items() if name not in gone}
        gone |= hit
