"""Settings are read strictly: an error names the variable, its value and the verdict."""

import pytest

from model_contract.settings import SettingError, settings_of
from webhook.settings import PREFIX, Settings

PATTERN = "it must be a repository with {project_id} as a whole part of its path"
SECRETS = {declared.name.upper() for declared in settings_of(Settings, prefix=PREFIX) if declared.secret}


def read(**values: str) -> Settings:
    return Settings.from_mapping({PREFIX + key: value for key, value in values.items()})


def test_settings_without_variables_are_the_defaults() -> None:
    assert Settings.from_mapping({}) == Settings()


def test_settings_are_read_from_their_variables() -> None:
    settings = read(
        DELIVERY="volume", CLAIM="models", CPU_LIMIT="1500m", SET_ARTIFACTS_PATH_ENV="true", IMAGE_PULL_SECRETS="a, b"
    )

    assert (settings.delivery, settings.claim) == ("volume", "models")
    assert settings.cpu_limit.text == "1500m"
    assert settings.set_artifacts_path_env is True
    assert settings.image_pull_secrets == ("a", "b")


def test_defaults_mean_the_same_when_they_are_written_out() -> None:
    written = {entry.variable: entry.default for entry in settings_of(Settings, prefix=PREFIX)}

    assert Settings.from_mapping(written) == Settings()


@pytest.mark.parametrize(
    ("key", "value", "verdict"),
    [
        ("SET_ARTIFACTS_PATH_ENV", "yes", 'it must be "true" or "false"'),
        ("SET_ARTIFACTS_PATH_ENV", "True", 'it must be "true" or "false"'),
        ("TOKEN", "", "it must be one of pull, service-account, none"),
        ("ENV_FROM", "always", "it must be one of annotated, inject, ignore"),
        ("STORE_SIZE", "20 GB", 'it must be a quantity, such as "500m", "512Mi" or "2Gi"'),
        ("STORE_SIZE", "-1Gi", 'it must be a quantity, such as "500m", "512Mi" or "2Gi"'),
        ("STORE_SIZE", "0", "it must be more than 0"),
        ("RUN_AS_USER", "0", "it must be a user id from 1 to 2147483647"),
        ("RUN_AS_USER", "4294967296", "it must be a user id from 1 to 2147483647"),
        ("RUN_AS_USER", "root", "it must be a user id from 1 to 2147483647"),
        ("PROJECT_ID_PATTERN", "[", "it must be a regular expression: unterminated character set at position 0"),
        (
            "TRACKING_URI",
            "mlflow:5000",
            'it must be an http or https address, such as "http://mlflow.mlflow-efs.svc:5000"',
        ),
        (
            "TRACKING_URI",
            "file:///mlruns",
            'it must be an http or https address, such as "http://mlflow.mlflow-efs.svc:5000"',
        ),
        ("TRACKING_URI", "http://mlflow:50000000", "it must be an http or https address, such as"),
        ("TRACKING_URI", "http://[::1", "it must be an http or https address, such as"),
        ("TRACKING_URI", "http://mlflow?a=b", "it must end with its path"),
        ("CLAIM_PREFIX", "../secrets", 'it must be a path below the root of the volume, such as "mlflow/models"'),
        ("CLAIM_PREFIX", "/models", 'it must be a path below the root of the volume, such as "mlflow/models"'),
        ("CLAIM", "Models", 'it must be the name of a Kubernetes object, such as "mlflow-ca"'),
        ("IMAGE_PULL_SECRETS", "a,,b", 'it must be the name of a Kubernetes object, such as "mlflow-ca"'),
        ("DELIVERY_IMAGE", "", 'it must be an image, such as "registry.example/model-api-delivery@sha256:..."'),
        ("MODEL_IMAGE", "r.example/models", PATTERN),
        ("MODEL_IMAGE", "models/{project_id}:{run_id}", PATTERN),
        ("MODEL_IMAGE", "r.example/m-{project_id}:{run_id}", PATTERN),
        ("MODEL_IMAGE", "r.example/m/{project_id}:latest", PATTERN),
        ("MODEL_IMAGE", "r.example/{project_id}/{run_id}", PATTERN),
        ("MODEL_IMAGE", "r.example/{project_id}:v-{run_id}", PATTERN),
        ("MODEL_IMAGE", "r.example/models:{project_id}", PATTERN),
        ("MODEL_IMAGE", "{project_id}.example/m:{run_id}", PATTERN),
        ("MODEL_IMAGE", "r.example/{project_id}/{name}", PATTERN),
        ("MODEL_IMAGE", "r.example/{project_id}@sha256:0", PATTERN),
        ("CPU_LIMIT", "8", "it must lie between the request (100m) and the maximum (4)"),
        ("FETCH_DEADLINE", "30 min", 'it must be a time of at least a second, such as "900", "30m" or "1h30m"'),
        ("FETCH_DEADLINE", "0s", "it must be a time of at least a second"),
        ("FETCH_DEADLINE", "-5m", "it must be a time of at least a second"),
        ("FETCH_DEADLINE_MAXIMUM", "", "it must be a time of at least a second"),
        ("MEMORY_LIMIT", "64Mi", "it must lie between the request (128Mi) and the maximum (4Gi)"),
    ],
)
def test_value_that_cannot_be_used_is_refused_with_its_verdict(key: str, value: str, verdict: str) -> None:
    with pytest.raises(SettingError) as refused:
        read(**{key: value})

    shown = "" if key in SECRETS else f'="{value}"'
    assert str(refused.value).startswith(f"{PREFIX}{key}{shown}: {verdict}")


def test_deadline_is_read_in_seconds_and_with_units() -> None:
    texts = ("", "900", "90s", "30m", "1h30m", "2h")

    assert [read(FETCH_DEADLINE=text).fetch_deadline for text in texts] == [None, 900, 90, 1800, 5400, 7200]


def test_deadline_above_its_maximum_is_refused() -> None:
    with pytest.raises(SettingError, match=r"FETCH_DEADLINE=.7200s.: it must not be more than the maximum \(3600s\)"):
        read(FETCH_DEADLINE="2h", FETCH_DEADLINE_MAXIMUM="1h")


def test_volume_without_its_claim_is_refused() -> None:
    with pytest.raises(SettingError, match="MODEL_API_WEBHOOK_DELIVERY=volume needs the name of the shared claim"):
        read(DELIVERY="volume")


def test_image_without_its_repository_is_refused() -> None:
    with pytest.raises(SettingError, match="MODEL_API_WEBHOOK_DELIVERY=image needs the repository of the images"):
        read(DELIVERY="image")


def test_pattern_of_images_gives_a_repository_and_perhaps_a_tag() -> None:
    with_tag, without = (
        read(DELIVERY="image", MODEL_IMAGE=text).model_image
        for text in ("registry.example:5000/models/{project_id}/wine:{run_id}", "registry.example/{project_id}")
    )

    assert with_tag
    assert without
    assert str(with_tag.of_run("team-a", "R_1")) == "registry.example:5000/models/team-a/wine:R_1"
    assert with_tag.repository("team-a").name == "registry.example:5000/models/team-a/wine"
    assert (without.repository("team-a").name, without.of_run("team-a", "R_1")) == ("registry.example/team-a", None)


def test_misspelt_setting_is_refused_and_the_nearest_is_named() -> None:
    with pytest.raises(SettingError) as refused:
        read(STORESIZE="20Gi")

    sentence = "there is no such setting; the nearest is MODEL_API_WEBHOOK_STORE_SIZE"
    assert str(refused.value) == f"MODEL_API_WEBHOOK_STORESIZE: {sentence}"


def test_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingError, match="it must hold no user or password") as refused:
        read(TRACKING_URI="http://admin:hunter2@mlflow:5000")

    assert "hunter2" not in str(refused.value)


def test_variables_of_others_are_not_settings() -> None:
    others = {
        "PATH": "/bin",
        "MODEL_API_WEBHOOK_SERVER_PORT": "9443",
        # What Kubernetes tells every container of the namespace about a Service named model-api-webhook.
        "MODEL_API_WEBHOOK_SERVICE_HOST": "10.0.0.1",
        "MODEL_API_WEBHOOK_SERVICE_PORT": "443",
        "MODEL_API_WEBHOOK_SERVICE_PORT_HTTPS": "443",
        "MODEL_API_WEBHOOK_PORT": "tcp://10.0.0.1:443",
        "MODEL_API_WEBHOOK_PORT_443_TCP": "tcp://10.0.0.1:443",
        "MODEL_API_WEBHOOK_PORT_443_TCP_ADDR": "10.0.0.1",
    }

    assert Settings.from_mapping(others) == Settings()
