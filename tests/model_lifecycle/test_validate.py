"""The promotion file, and `model-api validate`, which needs nothing but the file."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_lifecycle.promotion_file import MOST_BYTES, Change, Entry, PromotionFileError, changes, parse, schema
from testbed.lifecycle import MODULES
from testbed.processes import completed, installed

PROJECT, OTHER = "66c0a1b2c3d4e5f601234567", "wine-team-2"


def content(document: Any) -> bytes:
    return json.dumps(document).encode()


def one(**changed: Any) -> bytes:
    return content({PROJECT: [{"name": "wine", "version": 2} | changed]})


def test_file_says_which_version_goes_to_production() -> None:
    parsed = parse(content({PROJECT.upper(): [{"name": "wine", "version": "2"}], OTHER: []}))

    assert parsed.projects == {PROJECT: (Entry(project_id=PROJECT, name="wine", version="2"),), OTHER: ()}


def test_alias_is_the_stages_name() -> None:
    assert [entry.alias for entry in parse(one(stage="Staging")).entries] == ["staging"]
    for alias in ("champion", "latest-2", "v2_blue", "vintage"):
        assert [entry.alias for entry in parse(one(alias=alias)).entries] == [alias]


BAD = {
    "an empty file": (b"", "line 1, column 1: not JSON: Expecting value; the file is empty"),
    "a merge in conflict": (
        b'<<<<<<< HEAD\n{"a": []}\n=======\n{"b": []}\n>>>>>>> topic\n',
        "the file has the conflict markers of a git merge: resolve the conflict first",
    ),
    "a merge in conflict below the first line": (
        b'{\r\n<<<<<<< HEAD\r\n"a": []\r\n=======\r\n"b": []\r\n>>>>>>> topic\r\n}',
        "line 2, column 1: not JSON: Expecting property name enclosed in double quotes; the file has the conflict",
    ),
    "a no-break space": ('{\u00a0"a": []}'.encode(), "line 1, column 2: not JSON: Expecting property name"),
    "a typographic quote": ("{\u201ca\u201d: []}".encode(), "the character U+201C stands there"),
    "a comment on the first line": (
        b'// models in Production\n{"a": []}',
        "line 1, column 1: not JSON: Expecting value; JSON has no comments: remove the comment",
    ),
    "a comment behind an entry": (
        b'{"a": [{"name": "wine", "version": 2}, # was 1\n{"name": "beer", "version": 1}]}',
        "line 1, column 40: not JSON: Expecting value; JSON has no comments",
    ),
    "a comment before a key": (b'{\n  /* us */\n  "a": []}', "line 2, column 3: not JSON: Expecting property name"),
    "a comment before a comma": (b'{"a": [] // us\n, "b": []}', "Expecting ',' delimiter; JSON has no comments"),
    "a comment at the end": (b'{"a": []}\n# end\n', "line 2, column 1: not JSON: Extra data; JSON has no comments"),
    "YAML": (
        b"models:\n  - name: wine\n",
        "line 1, column 1: not JSON: Expecting value; the file is YAML: write it as JSON",
    ),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
        "the file is a pointer of Git LFS: keep the promotion file in git itself",
    ),
    "YAML below a comment": (b"# in Production\n---\n66c0:\n- name: wine\n", "the file is YAML"),
    "single quotes": (b"{'a': []}", "in double quotes; put texts and keys in double quotes"),
    "not JSON": (b'{"a": [}', "line 1, column 8: not JSON"),
    "a list": (b"[]", "$: must be an object"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "$: the file begins with a byte order mark"),
    "UTF-16": ("{}".encode("utf-16"), "byte order mark"),
    "Latin-1": (b'{"\xe9": []}', "not UTF-8 at byte 2"),
    "too large": (b" " * (MOST_BYTES + 1), f"at most {MOST_BYTES} bytes are read"),
    "nested": (b"[" * 100_000, "nested too deep"),
    "NaN": (one(version=float("nan")), "NaN is not JSON"),
    "a project twice": (
        f'{{"{PROJECT}": [], "{PROJECT}": []}}'.encode(),
        f'$: the key "{PROJECT}" comes twice in one object',
    ),
    "a project in two cases": (content({PROJECT: [], PROJECT.upper(): []}), "is the same project as"),
    "a name as project": (content({"Wine project": []}), "is no project id, which has at most 63 lower-case letters"),
    "no list": (content({PROJECT: {"name": "wine", "version": 2}}), "must be a list"),
    "an entry that is none": (content({PROJECT: ["wine"]}), "[0]: must be an object"),
    "no name": (content({PROJECT: [{"version": 2}]}), "[0]: name is missing"),
    "no version": (content({PROJECT: [{"name": "wine"}]}), "[0]: version is missing"),
    "a key twice": (
        f'{{"{PROJECT}": [{{"name": "a", "name": "b", "version": 1}}]}}'.encode(),
        '$: the key "name" comes twice',
    ),
    "an unknown key": (one(owner="jane"), "[0].owner: is not known; an entry has name, version, stage, alias, digest"),
    "a control character in a key": (one(**{"\n::error::\x1b[2J": 1}), "[0].\\n::error::\\x1b[2J: is not known"),
    "a name with a slash": (one(name="a/b"), "[0].name: must be a model's name"),
    "a control character of terminals in a name": (one(name="a\x9b31mb"), "[0].name: must be a model's name"),
    "an empty name": (one(name=""), "[0].name: must be a model's name"),
    "version 0": (one(version=0), '[0].version: must be a positive number, such as 2 or "2"'),
    "version 01": (one(version="01"), "[0].version"),
    "version 2.0": (one(version=2.0), "[0].version"),
    "version true": (one(version=True), "[0].version"),
    "another stage": (one(stage="production"), "[0].stage: must be Production or Staging"),
    "a version of 5,000 digits": (
        f'{{"{PROJECT}": [{{"name": "a", "version": {"1" * 5000}}}]}}'.encode(),
        "a number has too many digits",
    ),
    "half of a surrogate pair": (one(name="wine \ud83c"), "a text holds half of a surrogate pair"),
    "half of a surrogate pair in a key": (one(**{"\udf77": 1}), "a text holds half of a surrogate pair"),
    "an alias with a dot": (one(alias="a.b"), "[0].alias"),
    "the alias latest": (one(alias="Latest"), "but not latest, or v and a number: MLflow has no such alias"),
    "an alias like a version": (one(alias="v2"), "[0].alias: must be 1 to 255 letters"),
    "the alias of Production for Staging": (
        one(stage="Staging", alias="Production"),
        "[0].alias: is the alias of Production, and the stage is Staging",
    ),
    "a short digest": (one(digest="sha256:1"), "[0].digest"),
    "a model twice": (
        content({PROJECT: [{"name": "wine", "version": 1}, {"name": "wine", "version": 2}]}),
        "the model is also at",
    ),
    "a model of two projects": (
        content({p: [{"name": "wine", "version": 1}] for p in (PROJECT, OTHER)}),
        "a model has one entry",
    ),
}


@pytest.mark.parametrize(("written", "sentence"), BAD.values(), ids=BAD)
def test_mistake_is_named_with_its_place(written: bytes, sentence: str) -> None:
    with pytest.raises(PromotionFileError) as caught:
        parse(written)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("written", [b'{"a": [1,\n ]}', b'{"a": [],\n}'], ids=["of a list", "of an object"])
def test_comma_before_the_end_is_named(written: bytes) -> None:
    with pytest.raises(PromotionFileError, match=r"remove the comma before it|Illegal trailing comma"):  # Python 3.13
        parse(written)


def test_marks_of_comments_within_texts_are_part_of_them() -> None:
    assert parse(one(name="a # b")).entries[0].name == "a # b"


def test_every_mistake_is_found_at_once() -> None:
    with pytest.raises(PromotionFileError) as caught:
        parse(content({PROJECT: [{"name": "", "version": 0}, {"nam": "x"}], "x_": 1}))

    assert [problem.place.rpartition("]")[2] for problem in caught.value.problems] == [
        ".name",
        ".version",
        ".nam",
        "",
        "",
        "",
        "",
    ]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([PROJECT, "name", "version", "2"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([PROJECT, OTHER, "name", "version", "stage", "x"]), inner)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_any_promotion_file_is_used_or_refused(document: Any) -> None:
    try:
        parsed = parse(content(document))
    except PromotionFileError as error:
        assert error.problems
    else:
        assert all(entry.version.isdecimal() for entry in parsed.entries)


def test_only_entries_that_differ_are_changes() -> None:
    before = parse(
        content({PROJECT: [{"name": "a", "version": 1}, {"name": "b", "version": 1}, {"name": "c", "version": 1}]})
    )
    after = parse(
        content({PROJECT: [{"name": "a", "version": 1}, {"name": "b", "version": 2}, {"name": "d", "version": 5}]})
    )

    assert changes(before, after) == [
        Change(project_id=PROJECT, name="b", before="1", after="2"),
        Change(project_id=PROJECT, name="d", before=None, after="5"),
        Change(project_id=PROJECT, name="c", before="1", after=None),
    ]


def run(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return completed([installed("model-api"), *arguments], cwd=cwd, env=env or os.environ, imported=MODULES)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a promotion file on main, and another one in the work tree."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    file = tmp_path / "scripts" / "model_version.json"
    file.parent.mkdir()
    file.write_bytes(one())
    for command in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    file.write_bytes(one(version=3))
    return file


def test_right_file_says_what_it_changes(repository: Path) -> None:
    done = run("validate", repository, "--base", "main")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{repository}: 1 project, 1 model\n  wine: version 2 → 3\n"
    machine = json.loads(run("validate", repository, "--base", "main", "--format", "json").stdout)
    assert machine["changes"] == [{"project": PROJECT, "name": "wine", "before": "2", "after": "3"}]


def test_sign_that_turns_the_text_is_shown_by_its_number(repository: Path) -> None:
    repository.write_bytes(one(name="\u202eeniw", version=3))

    assert (
        "  \\u202eeniw: version 3, which the file did not name before\n"
        in run("validate", repository, "--base=main").stdout
    )


def test_link_is_followed_as_it_was_at_the_commit(repository: Path) -> None:
    """The file of main is `first.json`; the work tree's link leads to another one."""
    first, link = repository.with_name("first.json"), repository.with_name("current.json")
    first.write_bytes(one())
    link.symlink_to(first.name)
    git = ["git", "-C", str(repository.parent), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["add", "."], ["commit", "--quiet", "-m", "link"]):
        subprocess.run([*git, *command], check=True)
    link.unlink()
    link.symlink_to(repository.name)

    assert run("validate", link, "--base", "main").stdout == f"{link}: 1 project, 1 model\n  wine: version 2 → 3\n"


def test_file_within_a_bare_repository_of_the_checkout_runs_nothing(repository: Path, tmp_path: Path) -> None:
    """Git reads the settings of a repository within the checkout, which may name a command for a missing commit."""
    folder, ran = repository.parent, tmp_path / "ran"
    (folder / "objects").mkdir()
    (folder / "refs" / "heads").mkdir(parents=True)
    (folder / "refs" / "heads" / "main").write_text(f"{'12' * 20}\n")
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "config").write_text(
        "[core]\nrepositoryformatversion = 1\nbare = true\n[extensions]\npartialClone = x\n"
        f'[remote "x"]\npromisor = true\nurl = ext::touch {ran}\n[protocol "ext"]\nallow = always\n'
    )
    done = run("validate", repository, "--base", "main")

    assert done.returncode == 3
    assert f"is within the folder of a Git repository, {folder.resolve()}: move it" in done.stderr
    assert not ran.exists()


@pytest.mark.parametrize("value", [".git", "/nonexistent"], ids=["of a hook", "of another repository"])
def test_repository_is_the_one_of_the_file(repository: Path, value: str, tmp_path: Path) -> None:
    """A hook in a linked work tree has GIT_DIR, by which git takes the file's folder for the top of the work tree."""
    directory = value if value.startswith("/") else str(tmp_path / value)
    done = run("validate", repository, "--base", "main", env=os.environ | {"GIT_DIR": directory})

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("  wine: version 2 → 3\n")


def test_link_to_a_file_without_an_end_is_read_to_the_limit(tmp_path: Path) -> None:
    (link := tmp_path / "model_version.json").symlink_to("/dev/zero")
    done = run("validate", link)

    assert (done.returncode, done.stderr) == (
        3,
        f"{link}: $: the file is too long: at most {MOST_BYTES} bytes are read\n",
    )


def test_wrong_file_ends_the_job_with_an_annotation(repository: Path, tmp_path: Path) -> None:
    repository.write_bytes(one(version="01", owner="100%\n"))
    summary = tmp_path / "summary.md"
    done = run(
        "validate",
        "scripts/model_version.json",
        "--format",
        "github",
        cwd=tmp_path,
        env={"GITHUB_STEP_SUMMARY": str(summary)},
    )

    assert done.returncode == 3
    assert [line.partition("::")[2].split(",")[0] for line in done.stdout.splitlines()] == [
        "error file=scripts/model_version.json"
    ] * 2
    assert "version` must be a positive number" in summary.read_text()


def test_page_that_cannot_be_written_ends_no_job(repository: Path, tmp_path: Path) -> None:
    done = run("validate", repository, "--format", "github", env={"GITHUB_STEP_SUMMARY": str(tmp_path)})

    assert (done.returncode, done.stderr) == (0, "Warning: GITHUB_STEP_SUMMARY cannot be written: Is a directory\n")


def test_reader_that_is_gone_is_no_fault_of_the_program(repository: Path) -> None:
    with subprocess.Popen(
        [installed("model-api"), "validate", repository], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()

        assert process.stderr.read() == ""


def test_reference_that_is_no_commit_is_reported(repository: Path) -> None:
    done = run("validate", repository, "--base", "--output=x")

    assert done.returncode == 3
    assert "is no commit of the repository" in done.stderr


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"PATH": "/nonexistent"}, "--base needs git, which is not installed here"),
        (
            {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"},
            "; run: git config --global --add safe.directory /",
        ),  # a container of another user
    ],
)
def test_base_that_git_does_not_read_is_reported(repository: Path, variables: dict[str, str], sentence: str) -> None:
    done = run("validate", repository, "--base", "main", env=os.environ | variables)

    assert done.returncode == 3
    assert sentence in done.stderr


def test_what_git_says_beside_its_answer_is_no_refusal(repository: Path) -> None:
    """GIT_TRACE writes to standard error, as a warning about an unreadable configuration does."""
    read = run("validate", repository, "--base", "main", env=os.environ | {"GIT_TRACE": "1"})
    missing = run("validate", repository, "--base", "nowhere", env=os.environ | {"GIT_TRACE": "1"})

    assert (read.returncode, missing.returncode) == (0, 3)
    assert "nowhere is no commit of the repository" in missing.stderr


def test_file_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    done = run("validate", tmp_path / "none.json")

    assert done.returncode == 3
    assert "cannot be read: No such file or directory" in done.stderr
    assert run("validate").returncode == 2


def test_schema_has_every_field() -> None:
    printed = json.loads(run("validate", "--schema").stdout)

    assert printed == schema()
    assert list(printed["additionalProperties"]["items"]["properties"]) == [
        "name",
        "version",
        "stage",
        "alias",
        "digest",
    ]
