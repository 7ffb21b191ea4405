"""`isochrone page`: the posture page."""

import typer

from deploy.cli.flags import ConfigFile

app = typer.Typer()


@app.command()
def page(config: ConfigFile) -> None:
    """Serve the posture page on loopback until Ctrl-C; its address, token included, is printed first."""
    from dashboards.page.serve import ServeConfig, page_url, serve
    from deploy.configfile import read_config
    from schemas.clock import SystemClock

    settings = read_config(config, ServeConfig)
    typer.echo(page_url(settings))
    serve(settings, SystemClock())
