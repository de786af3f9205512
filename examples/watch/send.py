"""Sends the rows of flowers.csv to the model, again and again; after half of the time, with longer petals.

python send.py flowers.csv http://localhost:8080 60
"""

import csv
import json
import random
import sys
import time
import urllib.request
from pathlib import Path


def main(file: str, url: str, seconds: float) -> None:
    with Path(file).open(newline="") as lines:
        rows = [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(lines)]
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        row = dict(random.choice(rows))  # noqa: S311  an example
        if passed > seconds / 2:
            row["petal length (cm)"] *= 1.4
        body = json.dumps({"dataframe_records": [row]}).encode()
        request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})  # noqa: S310  the caller's own server
        urllib.request.urlopen(request, timeout=10).read()  # noqa: S310  as above
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
