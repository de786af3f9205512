"""The number of generated tables: `MODEL_API_TEST_EXAMPLES=100` gives a hundred times as many, for a long run."""

import os

MANY = int(os.environ.get("MODEL_API_TEST_EXAMPLES", "1"))
