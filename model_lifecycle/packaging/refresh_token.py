"""The tokens of a registry for a refresh token, as `az acr login` leaves one (RFC 6749, 6)."""

from typing import Any

import oras.auth.token
import requests


class RefreshTokenAuth(oras.auth.token.TokenAuth):  # type: ignore[misc]  # oras has no types
    """Gets tokens by the registry's challenge."""

    def __init__(self, refresh_token: str, session: requests.Session, verify: str | bool) -> None:
        super().__init__()
        self._basic_auth = ""  # without this, a token without rights is asked for first
        self._refresh_token, self._session, self._verify = refresh_token, session, verify

    def request_token(self, h: Any) -> Any:
        form = {"grant_type": "refresh_token", "refresh_token": self._refresh_token, "client_id": "model-api"}
        asked = {name: value for name, value in (("service", h.service), ("scope", h.scope)) if value}
        answer = self._session.post(h.realm, data=form | asked, verify=self._verify)
        return answer.json().get("access_token") if answer.ok else None
