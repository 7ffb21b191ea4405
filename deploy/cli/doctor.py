"""`isochrone doctor`: what is missing on this host, and the line that gets it."""

import typer
from rich.console import Console

from deploy.cli.flags import DEFAULT_STATE, Json, State

app = typer.Typer()


@app.command()
def doctor(state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """Ask the host: programs, capabilities, clock, ports, limits. Exit code 1 when something essential is missing."""
    from deploy.doctor import as_json as in_json
    from deploy.doctor import as_table, is_fit, run_checks
    from deploy.host import Host
    from deploy.settings import Settings

    settings = Settings()
    ports = {
        "kafka.port": settings.kafka.port,
        "kafka.controller_port": settings.kafka.controller_port,
        "clickhouse.port": settings.clickhouse.port,
        "page.port": settings.page.port,
    }
    checks = run_checks(Host(), ports=ports, state_dir=state)
    if as_json:
        typer.echo(in_json(checks))
    else:
        Console().print(as_table(checks))
    raise typer.Exit(0 if is_fit(checks) else 1)
