"""Names that a database takes for the same, as MariaDB 10.11 compared them."""

import pytest

from tracking_gate.policy.protected_names import ProtectedNames
from tracking_gate.policy.rules.promotion import PROTECTED_ALIASES
from tracking_gate.policy.rules.tags import (
    OWNERSHIP_TAGS,
    PROJECT_TAG,
    PROMOTION_TAGS,
    RESERVED_TAGS,
    SERVER_TAGS,
    WRITTEN_ONCE,
)

LONG = "x" * 490 + "é" * 1_000_000
FREE = [
    *("promotion", "promotions.id", "promotion_id", "team", "model-api", "model-api.digest.old", "mlflow.note.content"),
    *("Genauigkeit.über", "präzision", "độ chính xác", "précision.test", "naïve.id", "ÄÖÜ.id", LONG),
    *("精度", "学習データの詳細.精度", "한국어모델.정확도", "точность.f1", "ακρίβεια.id", "الدقة.id"),
]


@pytest.mark.parametrize(
    ("names", "spelling", "meant"),
    [
        (PROMOTION_TAGS, "PROMOTION.id", "promotion.*"),  # every collation that ignores case
        (PROMOTION_TAGS, "promot\u0131on.id", "promotion.*"),  # utf8mb4_general_ci
        (PROMOTION_TAGS, "\uff50romoti\xf8n.id", "promotion.*"),  # utf8mb4_unicode_ci
        (PROMOTION_TAGS, "promotion\ufe70.id", "promotion.*"),  # utf8mb4_unicode_ci
        (PROMOTION_TAGS, "prom\u0640otion.id", "promotion.*"),  # utf8mb4_uca1400_ai_ci
        (PROMOTION_TAGS, "\u07faprom\ua79dtion.id", "promotion.*"),  # utf8mb4_uca1400_ai_ci
        (PROMOTION_TAGS, "promotjon.id", "promotion.*"),  # utf8mb4_roman_ci
        (PROMOTION_TAGS, "promotyon.id", "promotion.*"),  # utf8mb4_lithuanian_ci
        (SERVER_TAGS, "mlflow.trace.arcivalFailure", "mlflow.trace.archivalFailure"),  # utf8mb4_lithuanian_ci
        (WRITTEN_ONCE, "model-api.dige\xdft", "model-api.digest"),  # utf8mb4_general_ci
        (WRITTEN_ONCE, "model-api.\xf0igest", "model-api.digest"),  # utf8mb4_unicode_520_ci
        (WRITTEN_ONCE, "model-api.\u0140isting  ", "model-api.listing"),  # utf8mb4_unicode_520_ci
        (WRITTEN_ONCE, "model-\u0622pi.image", "model-api.image"),  # utf8mb4_persian_ci
        (SERVER_TAGS, "MLFLOW.artifactlocation", "mlflow.artifactLocation"),
        (PROMOTION_TAGS, "pr\U000107a2motion.id", "promotion.*"),  # utf8mb4_uca1400_ai_ci
        (WRITTEN_ONCE, "model-api.\u1d9eigest", "model-api.digest"),  # utf8mb4_unicode_520_ci
        (SERVER_TAGS, "mlflow.trace.\xdfpansLocation", "mlflow.trace.spansLocation"),
        (SERVER_TAGS, "mlflow.issueDetection.scheduleTraceF\u0131lter", "mlflow.issueDetection.schedule*"),
        (RESERVED_TAGS, "_mlf\u1e37ow_experiment", "_mlflow_*"),
        (RESERVED_TAGS, "mlflow.model.\u0131sExternal", "mlflow.model.isExternal"),
        (OWNERSHIP_TAGS, "mlflow.\ua77aomino.user", "mlflow.domino.*"),  # utf8mb4_unicode_520_ci
        (OWNERSHIP_TAGS, "Dom\xeeno.Project ", "domino.project"),
        (PROJECT_TAG, "mlflow.domino.project_\u0131d", "mlflow.domino.project_id"),
        (PROTECTED_ALIASES, "Prodvctjon", "production"),  # utf8mb4_roman_ci
    ],
)
def test_name_that_a_database_takes_for_a_protected_one_is_found(
    names: ProtectedNames, spelling: str, meant: str
) -> None:
    assert names.found(spelling) == meant


@pytest.mark.parametrize("name", FREE, ids=lambda name: name[:20])
def test_name_that_only_resembles_a_protected_one_is_free(name: str) -> None:
    every = (OWNERSHIP_TAGS, PROJECT_TAG, PROMOTION_TAGS, RESERVED_TAGS, SERVER_TAGS, WRITTEN_ONCE, PROTECTED_ALIASES)

    assert [names.found(name) for names in every] == [None] * len(every)
