"""Options that several commands share, and the settings that `--settings` names."""

import os
from pathlib import Path
from typing import Final

import click

from model_contract.names import PLATFORM_NAMESPACE
from webhook.offline.input_files import read_settings_file
from webhook.settings import Settings

FILES: Final = click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    metavar="FILE",
    help='Kubernetes objects in YAML or JSON; "-" is standard input. It may come again.',
)
SETTINGS: Final = click.option(
    "--settings",
    "settings_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The webhook's settings: lines of KEY=VALUE, or the ConfigMap. Without it they are read from the environment.",
)
NAMESPACE: Final = click.option(
    "-n", "--namespace", default="default", show_default=True, help="Namespace of objects that name none."
)
INSTALLED_NAMESPACE: Final = click.option(
    "-n",
    "--namespace",
    default=PLATFORM_NAMESPACE,
    show_default=True,
    help="Namespace in which the webhook is installed.",
)
CONTEXT: Final = click.option("--context", help="Context of the kubeconfig; without it, the current one.")
OUTPUT: Final = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


def read_settings(file: Path | None) -> Settings:
    """Return the settings in `file`, or in the environment if it is None. Raises SettingError, DocumentError."""
    return Settings.from_mapping(os.environ if file is None else read_settings_file(file))
