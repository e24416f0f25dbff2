"""A profile as tables: what the kernel counted, then layers and functions of each process."""

from collections.abc import Sequence

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench.load.meter import Reading
from bench.load.rig import Taken
from bench.profile import stacks

TOP = 20
SMALLEST = 0.005
"""A layer below this share is not shown."""


class Profile(Struct):
    """What one kind of process did with its time. No samples: it is no Python."""

    kind: str
    used: Reading
    samples: list[stacks.Stack]


def show(title: str, taken: Taken, profiles: Sequence[Profile], console: Console) -> None:
    """All of it."""
    heard = taken.heard
    console.print(
        f"{title}: {heard.tokens / heard.seconds:,.0f} tokens/s for {heard.seconds:.0f} s, {heard.bad} streams lost, "
        f"failed or wrong, machine {taken.busy_percent:.0f} % busy",
        highlight=False,
    )
    console.print(_kernels(taken, profiles))
    for profile in profiles:
        if profile.samples:
            console.print(_layers(taken, profile))
            console.print(_functions(profile))


def _kernels(taken: Taken, profiles: Sequence[Profile]) -> Table:
    """What the kernel counted."""
    table = Table(title="CPU and context switches", title_justify="left")
    table.add_column("process")
    columns = ("CPU", "µs/token", "user", "system", "gave way/s", "was interrupted/s")
    for column in columns:
        table.add_column(column, justify="right")
    seconds = taken.heard.seconds
    for profile in profiles:
        used = profile.used
        cpu_s = used.cpu_s or 1e-9
        table.add_row(
            profile.kind,
            f"{used.cpu_s / seconds:.0%}",
            f"{taken.us_per_token(profile.kind) or 0:.1f}",
            f"{used.user_s / cpu_s:.0%}",
            f"{used.system_s / cpu_s:.0%}",
            f"{used.voluntary / seconds:,.0f}",
            f"{used.involuntary / seconds:,.0f}",
        )
    return table


def _layers(taken: Taken, profile: Profile) -> Table:
    """Shares, and the µs per token that they come to."""
    count = sum(stack.count for stack in profile.samples)
    table = Table(title=f"{profile.kind}: {count} samples by layer", title_justify="left")
    table.add_column("layer")
    table.add_column("share", justify="right")
    table.add_column("µs/token", justify="right")
    cost = taken.us_per_token(profile.kind) or 0.0
    for name, share in stacks.by_layer(profile.samples).items():
        if share >= SMALLEST:
            table.add_row(name, f"{share:.1%}", f"{share * cost:.1f}")
    return table


def _functions(profile: Profile) -> Table:
    """Those that spend the most themselves."""
    table = Table(title=f"{profile.kind}: functions", title_justify="left")
    table.add_column("function")
    table.add_column("self", justify="right")
    table.add_column("total", justify="right")
    for one in stacks.functions(profile.samples, TOP):
        table.add_row(one.name, f"{one.own:.1%}", f"{one.total:.1%}")
    return table
