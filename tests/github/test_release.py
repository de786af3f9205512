"""The release: the blocks of its workflow run on this machine, but for those of the images (tests/full)."""

import base64
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.github_project import ROOT
from testbed.github_steps import Job, git
from testbed.github_workflow import load
from testbed.release import MINTED, Index, ReleaseRun, make, package_index, recorded, recorder, version

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = load(ROOT / ".github" / "workflows" / "release.yml")
PINNED = re.compile(r"uses: (?:\./\S+|[\w.-]+(?:/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+)")
BUNDLE = 'for last; do :; done\ncase "$1" in sign-blob) echo bundle > "$last.sigstore.json";; esac\n'
IMAGE = "registry.example.com/model-api-webhook@sha256:" + "0" * 64
PAGES = f"mlflow-model-api-docs-{version()}"
PACKAGE = f"mlflow_model_api-{version()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A release that was published to simulations of GitHub and of the package index."""

    release: ReleaseRun
    jobs: tuple[Job, ...]
    index: Index
    tools: Path

    @property
    def files(self) -> Path:
        return self.release.artifact("files")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder at the head of the PATH whose `cosign` and `gh` keep how they were called."""
    folder = tmp_path_factory.mktemp("tools")
    recorder(folder, "cosign", BUNDLE)
    recorder(folder, "gh", f"cp notes.md {folder}/notes.md\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield folder


@pytest.fixture(scope="module")
def released(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Released]:
    with package_index(tmp_path_factory.mktemp("index")) as index, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(index.authorities))
        release = ReleaseRun.of_work_tree(
            tmp_path_factory.mktemp("release"), identity=index.identity, UV_PUBLISH_URL=f"{index.uri}/legacy/"
        )
        images = release.artifact("image-webhook")
        images.mkdir(parents=True)
        (images / "model-api-webhook.txt").write_text(f"{IMAGE}\n")
        (images / "model-api-webhook.cdx.json").write_text("{}")
        jobs = release.run(f"v{version()}", "test", "images", "chart")
        yield Released(release=release, jobs=jobs, index=index, tools=tools)


def test_tag_publishes_the_package_and_the_files(released: Released) -> None:
    assert [(job.name, job.code) for job in released.jobs] == [
        ("tag", 0),
        ("files", 0),
        ("package", 0),
        ("release", 0),
    ], "".join(job.log for job in released.jobs)
    token = "Basic " + base64.b64encode(f"__token__:{MINTED}".encode()).decode()
    assert sorted(name for name, _ in released.index.uploads) == [
        f"{PACKAGE}-py3-none-any.whl",
        f"{PACKAGE}.tar.gz",
    ]
    assert {credential for _, credential in released.index.uploads} == {token}
    [call] = recorded(released.tools, "gh")
    assert call[:4] == ["release", "create", f"v{version()}", "--verify-tag"]
    assert {Path(place).name for place in call if place.startswith("all/")} == {
        "images.txt",
        "model-api-webhook.cdx.json",
        *(f"{name}{end}" for name in names_of(released.files) for end in ("", ".sigstore.json")),
    }


def names_of(files: Path) -> set[str]:
    return {path.name for path in files.iterdir() if not path.name.endswith(".sigstore.json")}


def test_notes_of_the_release_are_the_versions_part_of_the_changelog(released: Released) -> None:
    notes = (released.tools / "notes.md").read_text()

    assert notes.strip()
    assert notes.strip() in (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## ", notes, re.MULTILINE) is None


def test_each_file_of_the_release_is_signed_and_attested(released: Released) -> None:
    signed = {Path(call[-1]).name for call in recorded(released.tools, "cosign") if call[0] == "sign-blob"}
    attested = [line.split() for line in (released.release.temporary / "attested").read_text().splitlines()]
    digests = {
        name: hashlib.sha256((released.files / name).read_bytes()).hexdigest() for name in names_of(released.files)
    }

    assert signed == names_of(released.files)
    assert {Path(place).name: digest for digest, place in attested} == digests
    assert all(call[1] == "--yes" for call in recorded(released.tools, "cosign") if call[0] == "sign-blob")


def test_sbom_of_the_package_names_what_the_lock_installs(released: Released) -> None:
    document = json.loads((released.files / f"{PACKAGE}.cdx.json").read_text())
    components = {one["name"]: one for one in document["components"]}

    assert document["metadata"]["component"]["purl"] == f"pkg:pypi/mlflow-model-api@{version()}"
    assert {"flask", "gunicorn", "aiohttp", "numpy", "mlflow-skinny", "pyarrow"} <= components.keys()
    assert not {"pytest", "ruff"} & components.keys()
    assert all(one["purl"] == f"pkg:pypi/{name}@{one['version']}" for name, one in components.items())
    assert all(reference["hashes"] for one in components.values() for reference in one["externalReferences"])
    assert "://" not in json.dumps(document)


def test_sbom_of_the_docs_names_each_file_of_their_archive(released: Released) -> None:
    document = json.loads((released.files / f"{PAGES}.cdx.json").read_text())
    with tarfile.open(released.files / f"{PAGES}.tar.gz") as archive:
        held = {
            member.name.removeprefix(f"{PAGES}/"): hashlib.sha256(content.read()).hexdigest()
            for member in archive
            if (content := archive.extractfile(member))
        }

    assert {"SECURITY.md", "docs/README.md", "manifests/base/kustomization.yaml"} <= held.keys()
    assert {one["name"]: one["hashes"][0]["content"] for one in document["components"]} == held


def test_files_of_a_commit_are_the_same_bytes_again(
    released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "another place"
    git(tmp_path, "clone", "--quiet", str(released.release.github.repository), str(again))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    installed = released.release.github.directory.glob("job-*/workspace/.tools/bin/uv")
    make(again, "dist", *(f"UV={uv}" for uv in installed))

    assert {path.name: path.read_bytes() for path in (again / "dist").iterdir()} == {
        name: (released.files / name).read_bytes() for name in names_of(released.files)
    }


@pytest.mark.parametrize(
    ("tag", "heading", "sentence"),
    [
        ("v9.9.9", None, "the tag is v9.9.9, and pyproject.toml has the version"),
        (f"v{version()}", "## {}, unreleased", "CHANGELOG.md has no heading"),
        (f"v{version()}", "## {}1, 2026-12-01", "CHANGELOG.md has no heading"),
    ],
    ids=["another version", "no date", "another heading"],
)
def test_tag_that_is_not_the_version_publishes_nothing(
    tag: str, heading: str | None, sentence: str, tmp_path: Path
) -> None:
    release = ReleaseRun.of_work_tree(tmp_path)
    if heading:
        changelog = release.github.repository / "CHANGELOG.md"
        changelog.write_text(f"# Changelog\n\n{heading.format(version())}\n\nText.\n")
        release.commit()
    [job] = release.run(tag)

    assert (job.name, job.code) == ("tag", 1)
    assert "::error::" in job.log
    assert sentence in job.log


def test_each_image_of_the_makefile_is_built_signed_and_described() -> None:
    named = re.search(r"^IMAGES := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    tags = make(ROOT, *(f"tag-{image}" for image in RELEASE["jobs"]["images"]["strategy"]["matrix"]["image"])).split()
    manifests = [path.read_text() for path in (ROOT / "manifests").rglob("*.yaml")]
    used = set(re.findall(r"\bmodel-api-(?:webhook|gate|delivery|runtime|lifecycle):[\w.-]+", "\n".join(manifests)))

    assert named
    assert RELEASE["jobs"]["images"]["strategy"]["matrix"]["image"] == named[1].split()
    assert used <= set(tags)
    assert len(used) > 4


def test_actions_are_pinned_by_commit_with_their_version() -> None:
    lines = [line.strip().removeprefix("- ") for file in WORKFLOWS for line in file.read_text().splitlines()]
    uses = [line for line in lines if line.startswith("uses:")]

    assert len(uses) > 10
    assert [line for line in uses if not PINNED.match(line)] == []


def test_each_job_names_its_rights_and_only_the_last_may_write_to_the_repository() -> None:
    rights = {name: job["permissions"] for name, job in RELEASE["jobs"].items()}

    assert RELEASE["permissions"] == {}
    assert [name for name, granted in rights.items() if granted.get("contents") == "write"] == ["release"]
    assert [name for name, granted in rights.items() if granted.get("packages") == "write"] == ["images", "chart"]
    assert {name for name, granted in rights.items() if "id-token" in granted} == {
        "images",
        "chart",
        "files",
        "package",
    }
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    assert set(re.findall(r"secrets\.(\w+)", text)) == {"GITHUB_TOKEN"}
    assert all(
        step["with"]["persist-credentials"] == "false"
        for job in RELEASE["jobs"].values()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith("actions/checkout@")
    )


def test_nothing_is_published_before_the_tests_have_passed() -> None:
    jobs = RELEASE["jobs"]

    def before(name: str) -> set[str]:
        needs = jobs[name].get("needs", [])
        named = {needs} if isinstance(needs, str) else set(needs)
        return named.union(*(before(one) for one in named))

    assert all({"tag", "test"} <= before(name) for name in jobs.keys() - {"tag", "test"})
    assert jobs["test"]["uses"] == "./.github/workflows/ci.yml"
    [test] = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"].values()
    assert ".ci/run" in test["steps"][-1]["run"]
