"""Timing, medians, and the table of results."""

import os
import statistics
import time
from dataclasses import dataclass


def timed(action, *arguments):
    """Seconds the action took."""
    begin = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - begin


def by_turns(runs, measures):
    """Medians of what each of `measures` (name → call that returns a number) gave in `runs` rounds.

    In every round each is taken once, so that a moment in which the host is busy
    with something else meets all of them.
    """
    taken = {name: [] for name in measures}
    for _ in range(runs):
        for name, measure in measures.items():
            taken[name].append(measure())
    return {name: statistics.median(values) for name, values in taken.items()}


def timed_ms(action, *arguments):
    """Milliseconds the action took."""
    return timed(action, *arguments) * 1e3


def median_ms(runs, action, *arguments):
    """Median of `runs` runs, in milliseconds."""
    return statistics.median(timed_ms(action, *arguments) for _ in range(runs))


@dataclass
class Row:
    """One line of the table: what was measured, on both sides, against which bar."""

    what: str
    unit: str
    libvirtd: float | None
    stead: float | None
    bar: str
    ratio: float | None
    passed: bool | None
    remark: str = ""


def at_most(limit, what, unit, libvirtd, stead, base=None, base_name="libvirtd"):
    """Stead's value over the base (libvirtd's unless given) must be at most `limit`."""
    base = libvirtd if base is None else base
    ratio = None if stead is None or not base else stead / base
    remark = "" if base_name == "libvirtd" else f"{base_name} {base:.4g} {unit}"
    bar = f"≤ {limit:g}× {base_name}"
    return Row(what, unit, libvirtd, stead, bar, ratio, None if ratio is None else ratio <= limit, remark)


def at_least(limit, what, unit, libvirtd, stead):
    """Stead's rate over libvirtd's must be at least `limit`."""
    ratio = None if stead is None or not libvirtd else stead / libvirtd
    return Row(what, unit, libvirtd, stead, f"≥ {limit:g}× libvirtd", ratio, None if ratio is None else ratio >= limit)


def table(rows):
    """The rows as a Markdown table."""
    lines = ["| what | libvirtd | Stead | ratio | bar | |", "|---|---|---|---|---|---|"]
    for row in rows:
        verdict = {True: "pass", False: "**FAIL**", None: "–"}[row.passed]
        ratio = "–" if row.ratio is None else f"{row.ratio:.2f}"
        what = f"{row.what} ({row.remark})" if row.remark else row.what
        lines.append(
            f"| {what} | {_value(row.libvirtd, row.unit)} | {_value(row.stead, row.unit)} | {ratio} | {row.bar} | {verdict} |"
        )
    return "\n".join(lines)


def _value(value, unit):
    if value is None:
        return "–"
    digits = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{digits} {unit}"


def surroundings():
    """What the figures depend on, in one line."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
    return f"{os.cpu_count()} × {model}, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}"
