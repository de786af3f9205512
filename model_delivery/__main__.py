"""`python -m model_delivery` is `model-api-delivery`."""

from model_delivery.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
