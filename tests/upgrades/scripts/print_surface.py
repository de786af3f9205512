"""Print what people and other programs name: options of commands, settings, exit codes, reasons, names of the contract.

An array of texts, such as `model-api promote --only`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import click

from model_contract import names
from model_contract.exit_codes import ExitCode
from model_contract.settings import settings_of
from serving_runtime.settings import OPTIONS
from tracking_gate.settings import SETTINGS
from webhook.reasons import Reason
from webhook.server.settings import ServerSettings
from webhook.settings import PREFIX, SERVER_PREFIX, Settings

PROGRAMS = ("model-api", "model-api-delivery", "model-api-gate", "model-api-runtime", "model-api-webhook")


def of_click(command: Any, path: str) -> Iterator[str]:
    for parameter in command.params:
        yield from (f"{path} {name}" for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-"))
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield f"{path} {name}"
            yield from of_click(command.get_command(context, name), f"{path} {name}")


def of_argparse(parser: argparse.ArgumentParser, path: str) -> Iterator[str]:
    for action in parser._actions:
        yield from (f"{path} {name}" for name in action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield f"{path} {name}"
                yield from of_argparse(command, f"{path} {name}")


def surface() -> Iterator[str]:
    for entry in entry_points(group="console_scripts"):
        if entry.name in PROGRAMS:
            main = entry.load()
            found = of_click if isinstance(main, click.Command) else of_argparse
            yield from found(
                main if isinstance(main, click.Command) else sys.modules[entry.module]._parser(), entry.name
            )
    declared = [
        *OPTIONS,
        *SETTINGS,
        *settings_of(Settings, prefix=PREFIX),
        *settings_of(ServerSettings, prefix=SERVER_PREFIX),
    ]
    yield from (f"setting {setting.variable}" for setting in declared)
    yield from (f"exit code {code.name} {int(code)}" for code in ExitCode)
    yield from (f"reason {reason} {reason.rule} {reason.outcome}" for reason in Reason)
    given = {name: value for name, value in vars(names).items() if name.isupper()}
    yield from (f"name {name} {value}" for name, value in given.items() if isinstance(value, str))


json.dump(sorted(set(surface())), sys.stdout)
