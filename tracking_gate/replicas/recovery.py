"""The state of a move that a replica has begun, and has not recorded as ended."""

from typing import Any

from tracking_gate.mlflow_api.registry import Registry

Json = dict[str, Any]


async def read_back(registry: Registry, move: Json) -> Json:
    """Return facts for the audit line: the state in MLflow, and if it is the one that was asked for.

    MLflow makes a move with all that it archives in one transaction. Raises Unavailable.
    """
    name, number, alias = str(move.get("model")), str(move.get("version")), move.get("alias")
    if alias is None:
        version = await registry.version(name, number)
        stage = version.stage if version else None
        return {"stage_now": stage, "took_effect": stage == move.get("to_stage")}
    model = await registry.model(name)
    pointed = model.aliases.get(str(alias)) if model else None
    wanted = None if move.get("op") == "delete_alias" else number
    return {"alias_now": pointed, "took_effect": pointed == wanted}
