"""`review`: one AdmissionReview, answered as the server would."""

import orjson

from webhook.admission import admit
from webhook.review import parse
from webhook.settings import Settings


def answer_of(body: bytes, settings: Settings) -> tuple[str, bool]:
    """The answer as JSON, and whether the pod is allowed. Raises InvalidReview."""
    answer = admit(parse(body), settings)
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode(), bool(answer["response"]["allowed"])
