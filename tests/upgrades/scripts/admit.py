"""Print the webhook's answer to each review of standard input, an array of pairs of settings and review."""

import json
import sys

from webhook.admission import admit
from webhook.settings import Settings

answers = [admit(review, Settings.from_mapping(settings)) for settings, review in json.load(sys.stdin)]
json.dump(answers, sys.stdout)
