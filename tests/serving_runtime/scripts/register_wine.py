"""Register the files of a model as `wine`, with the alias production; prints the id of its run.

Argument: the directory of the model.
"""

import sys

from mlflow import MlflowClient

client = MlflowClient()
run_id = client.create_run(client.create_experiment("wine")).info.run_id
client.log_artifacts(run_id, sys.argv[1], "model")
client.create_registered_model("wine")
client.create_model_version("wine", f"runs:/{run_id}/model", run_id)
client.set_registered_model_alias("wine", "production", "1")
sys.stdout.write(run_id)
