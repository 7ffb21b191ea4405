"""Show the bars of a demo to people."""

from rich.console import Console
from rich.table import Table

from deploy.demo.result import DemoResult, bars


def show(result: DemoResult, console: Console) -> bool:
    """Print each bar with its figure; return whether all hold."""
    table = Table(title="demo", title_justify="left")
    for name in ("promise", "measured", "bar", ""):
        table.add_column(name)
    found = list(bars(result))
    for bar in found:
        table.add_row(bar.what, bar.figure, bar.bar, "holds" if bar.holds else "[bold red]FAILS[/]")
    console.print(table)
    for line in result.mismatches[:5]:
        console.print(f"[red]{line}[/]")
    return all(bar.holds for bar in found)
