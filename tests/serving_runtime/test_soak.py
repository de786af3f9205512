"""The soak of the benchmarks, for two seconds: good and bad requests mixed, and every answer is the right one."""

from pathlib import Path

from benchmarks.runtime_soak import soak, weights
from testbed.environments import saved_models
from testbed.runtime_server import NATIVE, serving

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "save_model.py"
SECONDS = 2


def test_every_answer_is_right_under_mixed_traffic(tmp_path: Path) -> None:
    model = saved_models("3.17", SCRIPT, tmp_path / "model", "elastic-net")
    with serving(model, *NATIVE, "--workers", "2", log=tmp_path / "log") as server:
        tally, _, _ = soak(server, *weights(model), seconds=SECONDS, clients=4)

        assert tally.wrong == []
        assert server.get("/readyz").status == 200
        assert len(server.workers()) == 2
    assert {"split", "records", "csv", "v1", "v2", "a text", "no JSON", "brackets", "another model"} <= set(
        tally.answers
    )
