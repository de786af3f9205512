"""Print the Secret of standard input after `model-api token rotate` of a project, with a grace of a day."""

import json
import sys
from datetime import UTC, datetime, timedelta

from model_contract.tokens import Purpose
from model_lifecycle.tokens.store import TokenRequest, rotate

project, texts = json.load(sys.stdin)
data = {key: text.encode() for key, text in texts.items()}
request = TokenRequest(project_id=project, purposes=(Purpose.PULL, Purpose.PROMOTE))
patch = rotate(data, request, datetime.now(UTC), timedelta(days=1)).patch
merged = {key: value for key, value in (data | dict(patch)).items() if value is not None}
json.dump({key: value.decode() for key, value in merged.items()}, sys.stdout)
