"""`isochrone worker`: verify, fold, store, then acknowledge."""

import typer

from deploy.cli.flags import ConfigFile

app = typer.Typer()


@app.command()
def worker(config: ConfigFile) -> None:
    """Take what the probes sent off Kafka until SIGTERM; several workers share the partitions."""
    from deploy.configfile import read_config
    from streams.app import run_worker
    from streams.worker_config import WorkerConfig

    run_worker(read_config(config, WorkerConfig))
