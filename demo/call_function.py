"""What Domino's harness does in its worker: imports model.py once, then calls its function with the request's data."""

import importlib.util
import json
import sys

path, data = sys.argv[1:]
specification = importlib.util.spec_from_file_location("model", path)
if specification is None or specification.loader is None:
    raise SystemExit(f"{path} is not a Python file")
model = importlib.util.module_from_spec(specification)
specification.loader.exec_module(model)
print(json.dumps(model.predict(**json.loads(data))))
