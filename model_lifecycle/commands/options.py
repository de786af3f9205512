"""Options of several commands, and the promotion file that several commands take."""

import re
from pathlib import Path
from typing import Final

import click

from model_contract.names import PROJECT_ID_FORM, PROJECT_ID_PATTERN
from model_lifecycle.commands import report
from model_lifecycle.commands.cli_errors import cli_errors
from model_lifecycle.errors import InvalidError
from model_lifecycle.promotion_file import MOST_BYTES, PromotionFile, PromotionFileError, parse

LONGEST_LINE: Final = 500  # characters
# Control characters, line separators, and surrogates, which UTF-8 cannot hold.
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def project_id(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return a project id in lower case.

    Domino shows ids in lower case, and GitHub's secrets have them in upper case.
    """
    if value is not None and not re.fullmatch(PROJECT_ID_PATTERN, value.lower()):
        raise click.BadParameter(f"a project id has {PROJECT_ID_FORM}; Domino shows it in the project's settings")
    return value.lower() if value else None


def line(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return a text that becomes a tag. Raises BadParameter if it is not one short line."""
    if value is not None and (CONTROL.search(value) or len(value) > LONGEST_LINE):
        raise click.BadParameter(f"must be one line of at most {LONGEST_LINE} characters")
    return value.strip() or None if value else None


def header_line(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return a text that becomes a tag and a header. Raises BadParameter as `line`, and for what no header holds."""
    if value is not None and not value.isascii():
        raise click.BadParameter("must be letters, digits and signs of ASCII, such as a commit's hash")
    return line(context, parameter, value)


TRACKING_URI_OPTION = click.option(
    "--tracking-uri", "uri", metavar="URL", help="The gate, or MLflow; without it, MLFLOW_TRACKING_URI."
)
TOKEN_FILE_OPTION = click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the token, instead of MLFLOW_TRACKING_TOKEN.",
)
FORMAT = click.option("--format", "form", type=click.Choice(report.FORMATS), default="text", show_default=True)


def read_promotion_file(file: Path, form: str) -> PromotionFile:
    """Return the promotion file, or print each mistake in it and exit with 3."""
    with cli_errors():  # as text in each form: there is no file to annotate
        try:
            with file.open("rb") as stream:
                content = stream.read(MOST_BYTES + 1)  # a link of a pull request may lead to /dev/zero
        except OSError as error:
            raise InvalidError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return parse(content)
    except PromotionFileError as error:
        report.problems(str(file), error.problems, form)
        raise SystemExit(error.exit_code) from error
