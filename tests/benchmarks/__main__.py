"""``python -m tests.benchmarks [NAME]``: run one benchmark, or all of them. They print, they assert nothing."""

from __future__ import annotations

import sys
from importlib import import_module

# Name to the module that holds its main(); each prints a table.
BENCHES = {
    "waiting": "tests.benchmarks.waiting",
    "polls": "tests.benchmarks.polls",
    "confirm": "tests.benchmarks.confirm",
    "start": "tests.benchmarks.start",
    "evidence": "tests.benchmarks.evidence",
    "drift": "tests.benchmarks.drift",
}


def main(names: list[str]) -> int:
    """Run the benchmarks of the given names, all when none is given."""
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    for number, name in enumerate(names or BENCHES):
        if number:
            print()
        import_module(BENCHES[name]).main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
