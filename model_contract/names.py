"""Names that several applications use: variables, labels, annotations, tags, Secrets, images. Paths are in `layout`."""

from typing import Final

# The four variables of a model API pod, and the one that replaces the path built from them.
MODEL_NAME: Final = "MLFLOW_MODEL_NAME"
MODEL_OWNER: Final = "MLFLOW_MODEL_OWNER"
MODEL_VERSION: Final = "MLFLOW_MODEL_VERSION"
RUN_ID: Final = "MLFLOW_RUN_ID"
MODEL_VARIABLES: Final = (MODEL_NAME, MODEL_OWNER, MODEL_VERSION, RUN_ID)
ARTIFACTS_PATH: Final = "MLFLOW_ARTIFACTS_PATH"

# Variables of a client of MLflow or of the gate.
TRACKING_URI: Final = "MLFLOW_TRACKING_URI"
TRACKING_TOKEN: Final = "MLFLOW_TRACKING_TOKEN"
TRACKING_USERNAME: Final = "MLFLOW_TRACKING_USERNAME"
TRACKING_PASSWORD: Final = "MLFLOW_TRACKING_PASSWORD"
SERVER_CERT_PATH: Final = "MLFLOW_TRACKING_SERVER_CERT_PATH"
CLIENT_CERT_PATH: Final = "MLFLOW_TRACKING_CLIENT_CERT_PATH"
CA_FILE: Final = "SSL_CERT_FILE"
CA_DIRECTORY: Final = "SSL_CERT_DIR"
# Variables of a GitHub job that may ask for a token of its own.
GITHUB_TOKEN_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_TOKEN_REQUEST: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
PROJECT_HEADER: Final = "X-Gate-Project"  # the project for which a person creates something
TOKEN_FILE: Final = "MODEL_API_TOKEN_FILE"
PRESIGNED_HOSTS: Final = "MODEL_API_PRESIGNED_HOSTS"  # hosts of object stores that presigned URLs may name
OBJECT_STORES: Final = "MODEL_API_OBJECT_STORES"  # addresses in object stores that may be read directly
# A directory with a file for each variable of the store's own clients, such as AWS_ACCESS_KEY_ID.
OBJECT_STORE_CREDENTIALS: Final = "MODEL_API_OBJECT_STORE_CREDENTIALS"
PROJECT_ID_VARIABLE: Final = "MODEL_API_PROJECT_ID"
# One per envFrom source and variable: MODEL_API_SOURCE_<n>_<VARIABLE>; the highest <n> that is present wins.
SOURCE_PREFIX: Final = "MODEL_API_SOURCE_"

# Labels and annotations of this project.
DOMAIN: Final = "model-api.dominodatalab.com"
ENABLED_LABEL: Final = f"{DOMAIN}/enabled"
INJECT: Final = f"{DOMAIN}/inject"  # a label ("false": opt out) and an annotation ("true": variables may be in envFrom)
CONTAINERS_ANNOTATION: Final = f"{DOMAIN}/containers"
CPU_LIMIT_ANNOTATION: Final = f"{DOMAIN}/cpu-limit"
MEMORY_LIMIT_ANNOTATION: Final = f"{DOMAIN}/memory-limit"
DEADLINE_ANNOTATION: Final = f"{DOMAIN}/deadline"
IMAGE_ANNOTATION: Final = f"{DOMAIN}/image"  # the image of the model, by digest
STATUS_ANNOTATION: Final = f"{DOMAIN}/status"

# Labels that Domino puts on its pods.
WORKLOAD_TYPE_LABEL: Final = "dominodatalab.com/workload-type"
MODEL_API_WORKLOAD: Final = "ModelAPI"
PROJECT_ID_LABEL: Final = "dominodatalab.com/project-id"
# A DNS label (RFC 1123), which a label's value, the name of a Secret and a token can hold.
PROJECT_ID_PATTERN: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
PROJECT_ID_FORM: Final = "at most 63 lower-case letters, digits and hyphens, no hyphen at either end"
DOMINO_PROJECT_ID_PATTERN: Final = r"[0-9a-f]{24}"

# Parts that the webhook adds to a pod.
INIT_CONTAINER: Final = "mlflow-model-init"
MODEL_VOLUME: Final = "mlflow-model"
TOKEN_VOLUME: Final = "mlflow-token"
OBJECT_STORE_VOLUME: Final = "mlflow-object-store"
SCRATCH_VOLUME: Final = "mlflow-tmp"
TOKEN_MOUNT: Final = "/run/model-api"
TOKEN_KEY: Final = "token"
GATE_AUDIENCE: Final = "model-api-gate"  # of tokens of other issuers than this project, such as the cluster

# Namespaces of a Domino installation.
COMPUTE_NAMESPACE: Final = "domino-compute"
PLATFORM_NAMESPACE: Final = "domino-platform"
MLFLOW_NAMESPACE: Final = "mlflow-efs"

# Secrets. A pod mounts only a Secret of its own namespace, so each project's pull token is copied there under its own
# name.
PROJECT_TOKENS_SECRETS: Final = ("mlflow-proxy-secret", "mlflow-model-secret")
TLS_SECRET: Final = "model-api-webhook-tls"

# Objects of an installation. The API server calls webhooks in the order of their names: this one after those of meshes.
REGISTRATION: Final = "model-api-webhook"
WEBHOOK_SERVICE: Final = "model-api-webhook"
POLICY: Final = "model-api-injected"

# Tags of a registered model version.
TAG_MODEL_ID: Final = "DOMINO_MODEL_ID"
TAG_MODEL_VERSION_ID: Final = "DOMINO_MODEL_VERSION_ID"
TAG_USER: Final = "mlflow.domino.user"
TAG_PROJECT_ID: Final = "mlflow.domino.project_id"
TAG_PROJECT_NAME: Final = "mlflow.domino.project_name"
TAG_DIGEST: Final = "model-api.digest"  # of the files
TAG_LISTING: Final = "model-api.listing"  # digest of names, sizes and times: unchanged files are not read again
TAG_IMAGE: Final = "model-api.image"  # of the files: <repository>@sha256:<digest>
PROMOTION_TAG_PREFIX: Final = "promotion."
PROMOTION_ID: Final = f"{PROMOTION_TAG_PREFIX}id"  # the version was in Production, or is on its way there

# Images and metric prefixes.
WEBHOOK_IMAGE: Final = "model-api-webhook"
DELIVERY_IMAGE: Final = "model-api-delivery"
RUNTIME_IMAGE: Final = "model-api-runtime"
GATE_IMAGE: Final = "model-api-gate"
WEBHOOK_METRICS: Final = "model_api_webhook_"
GATE_METRICS: Final = "model_api_gate_"
RUNTIME_METRICS: Final = "model_api_runtime_"


def pull_secret(project_id: str) -> str:
    """Return the name of the Secret with a project's pull token (key `token`), in the namespace of its pods."""
    return f"mlflow-pull-{project_id}"
