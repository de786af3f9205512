"""Print the Secret that `model-api token create` makes for projects, as an object of texts by keys."""

import json
import sys
from datetime import UTC, datetime, timedelta

from model_contract.tokens import Purpose
from model_lifecycle.tokens.store import TokenRequest, create

data: dict[str, bytes] = {}
for project in json.load(sys.stdin):
    request = TokenRequest(project_id=project, purposes=(Purpose.PULL, Purpose.PROMOTE), ttl=timedelta(days=90))
    patch = create(data, request, datetime.now(UTC)).patch
    data |= {key: value for key, value in patch.items() if value is not None}
json.dump({key: value.decode() for key, value in data.items()}, sys.stdout)
