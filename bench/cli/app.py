"""The application: the program without its commands."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="bench",
    help="Which self-supervised objective should I pretrain my text encoder with?",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        import bench

        typer.echo(f"bench {bench.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Which self-supervised objective should I pretrain my text encoder with?"""
