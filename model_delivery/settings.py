"""Settings of a run: the model, MLflow and the project, from options and variables.

The variables are those of MLflow's client and of the contract (`model_contract.settings` says why none is declared).
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_contract.model_ref import ModelRef, shown
from model_contract.names import (
    MODEL_VARIABLES,
    PROJECT_ID_FORM,
    PROJECT_ID_PATTERN,
    PROJECT_ID_VARIABLE,
    SOURCE_PREFIX,
    TOKEN_FILE,
    TRACKING_URI,
)
from model_contract.secret import Secret
from model_contract.tls import TlsSettingError, check_authorities, tls_context
from model_contract.tracking_credentials import (
    Credential,
    CredentialError,
    RenewedCredential,
    bearer,
    environment_credential,
)
from model_delivery.errors import InvalidInputError
from model_delivery.object_store_settings import ObjectStoreSettings
from model_delivery.presigned_hosts import PresignedHosts
from model_delivery.proxy import Proxy, proxy_for
from model_delivery.tracking_uri import TrackingUri, parse_tracking_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The address of MLflow, with the credential and the proxy for it, and the object stores that may be read.

    `tls` is None for http.
    """

    uri: TrackingUri
    credential: Credential | None
    proxy: Proxy | None
    tls: ssl.SSLContext | None
    presigned: PresignedHosts = field(default_factory=PresignedHosts)
    object_stores: ObjectStoreSettings = field(default_factory=ObjectStoreSettings)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Upstream":
        """Read the variables. Raises InvalidInputError, without the value if it may be a secret."""
        uri = parse_tracking_uri(environ.get(TRACKING_URI))
        try:
            check_authorities(environ)
            tls = tls_context(environ) if uri.scheme == "https" else None
            file = environ.get(TOKEN_FILE)
            credential = (
                token_of_file(Path(file), f"the token of {TOKEN_FILE}") if file else environment_credential(environ)
            )
        except (TlsSettingError, CredentialError) as error:
            raise InvalidInputError(str(error)) from error
        return cls(
            uri=uri,
            credential=credential,
            proxy=proxy_for(uri, environ),
            tls=tls,
            presigned=PresignedHosts.from_environment(environ),
            object_stores=ObjectStoreSettings.from_environment(environ),
        )


def project_id(environ: Mapping[str, str]) -> str | None:
    """Return the id of the pod's project; None if it is not set. Raises InvalidInputError."""
    value = environ.get(PROJECT_ID_VARIABLE)  # empty for a pod without the label
    if not value:
        return None
    if not re.fullmatch(PROJECT_ID_PATTERN, value):
        raise InvalidInputError(
            f"{PROJECT_ID_VARIABLE} is {shown(value)}, which is no project id: it has {PROJECT_ID_FORM}"
        )
    return value


def model_variables(options: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are given: option > variable > MODEL_API_SOURCE_<n>_<variable> of the highest n."""
    found = {variable: _variable(variable, options.get(variable), environ) for variable in MODEL_VARIABLES}
    return {variable: value for variable, value in found.items() if value is not None}


def model_ref(options: Mapping[str, str | None], environ: Mapping[str, str]) -> ModelRef | None:
    """Return the model; None if no variable is set. Raises ContractError if some are missing or one is malformed."""
    return ModelRef.from_variables(model_variables(options, environ))


def _variable(variable: str, option: str | None, environ: Mapping[str, str]) -> str | None:
    if option is not None:
        return option
    if variable in environ:
        return environ[variable]
    sources = re.compile(rf"{re.escape(SOURCE_PREFIX)}([0-9]+)_{re.escape(variable)}", re.ASCII)
    numbered = [(int(found[1]), name) for name in environ if (found := sources.fullmatch(name))]
    return environ[max(numbered)[1]] if numbered else None


def token_of_file(path: Path, title: str) -> Credential:
    """Return the token of a file, which is read again for each request: the kubelet replaces it.

    Raises InvalidInputError, then and later.
    """
    return RenewedCredential.of(lambda: _read_token(path, title))


def _read_token(path: Path, title: str) -> Credential:
    try:
        return bearer(Secret.from_file(path), title)
    except UnicodeDecodeError:
        raise InvalidInputError(f"{title} cannot be read: {path} does not hold a token") from None
    except OSError as error:
        # No path: a variable may hold the token itself by mistake.
        raise InvalidInputError(f"{title} is in a file that cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"{title} cannot be read: {error}") from error
