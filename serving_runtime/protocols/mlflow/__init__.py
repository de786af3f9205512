"""MLflow's scoring protocol: `POST /invocations`.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
"""
