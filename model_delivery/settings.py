"""What a run is told: options of the command, and variables of its environment, which is passed in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_contract.model_ref import ModelRef
from model_contract.names import MODEL_VARIABLES, SOURCE_PREFIX, TOKEN_FILE, TRACKING_URI
from model_contract.secret import Secret
from model_delivery.errors import InvalidInputError
from model_delivery.proxy import Proxy, proxy_for
from model_delivery.tracking_uri import TrackingUri, parse_tracking_uri

CA_FILE = "SSL_CERT_FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where MLflow is, how it is reached, and what it is shown."""

    uri: TrackingUri
    token: Secret | None
    proxy: Proxy | None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Upstream":
        """Raises InvalidInputError for a setting that cannot be right, without its value where that may be a secret."""
        uri = parse_tracking_uri(environ.get(TRACKING_URI))
        _check_ca(environ.get(CA_FILE))
        return cls(uri=uri, token=_token(environ.get(TOKEN_FILE)), proxy=proxy_for(uri, environ))


def model_variables(options: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, str]:
    """Those of the four variables that are given: option > variable under its own name > MODEL_API_SOURCE_<n>_<variable>, highest n."""
    found = {variable: _variable(variable, options.get(variable), environ) for variable in MODEL_VARIABLES}
    return {variable: value for variable, value in found.items() if value is not None}


def model_ref(options: Mapping[str, str | None], environ: Mapping[str, str]) -> ModelRef | None:
    """None where nothing names a model; raises ContractError where something does, but not fully, or not rightly."""
    return ModelRef.from_variables(model_variables(options, environ))


def _variable(variable: str, option: str | None, environ: Mapping[str, str]) -> str | None:
    if option is not None:
        return option
    if variable in environ:
        return environ[variable]
    sources = re.compile(rf"{re.escape(SOURCE_PREFIX)}([0-9]+)_{re.escape(variable)}", re.ASCII)
    numbered = [(int(found[1]), name) for name in environ if (found := sources.fullmatch(name))]
    return environ[max(numbered)[1]] if numbered else None


def _token(path: str | None) -> Secret | None:
    if not path:
        return None
    try:
        return Secret.from_file(Path(path))
    except UnicodeDecodeError:
        raise InvalidInputError(f"{TOKEN_FILE}: {path} does not hold a token") from None
    except OSError as error:
        raise InvalidInputError(f"{TOKEN_FILE} names {path}, which cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"{TOKEN_FILE}: {error}") from error


def _check_ca(path: str | None) -> None:
    """OpenSSL ignores a file that is not there, and then trusts nobody."""
    if path and not Path(path).is_file():
        raise InvalidInputError(f"{CA_FILE} names {path}, which is no file")
