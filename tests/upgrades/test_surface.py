"""Names and values that people write into files and scripts, in the former version and in this one."""

import json

from testbed.former_version import Version, this_version
from tests.upgrades.conftest import SCRIPTS

# Names that the former version has and this one has no more, each with its reason. The changelog says so too.
REMOVED: dict[str, str] = {}


def names_of(version: Version) -> set[str]:
    return set(json.loads(version.script(SCRIPTS / "print_surface.py")))


def test_no_option_setting_code_or_name_of_the_former_version_is_gone(former: Version) -> None:
    before, now = names_of(former), names_of(this_version())

    assert len(before) > 400
    assert before - now == REMOVED.keys()
