"""`review`: one AdmissionReview, answered as the server would."""

import sys
from pathlib import Path

import click
import orjson

from model_contract.exit_codes import ExitCode
from webhook.admission import admit
from webhook.cli_errors import InvalidInputError
from webhook.commands.options import SETTINGS, read_settings
from webhook.review import InvalidReview, parse


@click.command()
@SETTINGS
def review(settings_file: Path | None) -> None:
    """Answer the AdmissionReview on standard input, as the server would.

    Exits with 6 if it denies the pod.
    """
    settings = read_settings(settings_file)
    try:
        answer = admit(parse(sys.stdin.buffer.read()), settings)
    except InvalidReview as error:
        raise InvalidInputError(str(error)) from error
    click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    sys.exit(ExitCode.DONE if answer["response"]["allowed"] else ExitCode.PRECONDITION)
