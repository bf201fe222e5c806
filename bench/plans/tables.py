#!/usr/bin/env python3
"""Prints the tables of bench/README.md from what `onepath-bench lab --format json` wrote.

Usage: tables.py FILE.json...   Medians over seeds; — where not all runs of a cell ended.
"""

import json
import statistics
import sys

SCHEMES = (
    "ecmp ecmp-k split-equal split-line split switch-spray ecmp-udp split-udp spray reps switch-spray-udp"
).split()


def size(count):
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count // unit} {name}"
    return f"{count} B"


def name(row):
    order = ", in order" if row["order"] == "contiguous" else ""
    condition = "" if row["condition"] == "healthy" else f", {row['condition']}"
    fabric = f", {row['hosts']} hosts over {row['spines']} spines"
    return f"{row['collective']} {size(row['bytes'])}{order}{condition}{fabric}"


def median(rows, value, digits):
    values = [value(row) for row in rows]
    if not values:
        return ""
    return "—" if None in values else f"{statistics.median(values):.{digits}f}"


def ratio(row):
    return row["completion_s"] and row["completion_s"] / row["ideal_s"]


def table(title, rows, value, digits):
    names = list(dict.fromkeys(map(name, rows)))
    print(f"\n{title}\n\n| | {' | '.join(f'`{s}`' for s in SCHEMES)} |")
    print(f"|{'---|' * (len(SCHEMES) + 1)}")
    for one in names:
        cells = (
            median([r for r in rows if name(r) == one and r["scheme"] == scheme], value, digits)
            for scheme in SCHEMES
        )
        print(f"| {one} | {' | '.join(cells)} |")


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.strip())
    rows = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            rows += json.load(file)
    table("Completion over the ideal", rows, ratio, 2)
    table("`max_over_mean`", rows, lambda row: row["max_over_mean"], 3)
    table("Subflows that carried data, of a rank", rows, lambda row: row["subflows_used"] and row["subflows_used"] / row["hosts"], 0)
    bound = sum(bool(row["cpu_bound"]) for row in rows)
    print(f"\n{len(rows)} runs, {bound} of them bound by the processor")


if __name__ == "__main__":
    main()
