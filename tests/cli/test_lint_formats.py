"""`stethoscope lint --format`: what code hosts, editors and continuous integration read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from linting_files import BAD, lint, notebook

from stethoscope.core.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sarif(*arguments: str) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(lint(*arguments, "--format", "sarif")[1])["runs"][0]
    return run


def test_sarif_has_the_place_the_rule_and_its_page(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)

    code, output = lint("train.py", "--format", "sarif")

    log = json.loads(output)
    assert (code, log["version"], log["$schema"].rpartition("/")[2]) == (1, "2.1.0", "sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    (result,) = run["results"]
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert (result["ruleId"], rule["id"], result["level"]) == ("missing-zero-grad", "missing-zero-grad", "error")
    assert "## Why it hurts" in rule["help"]["markdown"]
    assert "Why it hurts" in rule["help"]["text"]
    assert rule["defaultConfiguration"] == {"level": "error"}
    where = result["locations"][0]["physicalLocation"]
    assert where["artifactLocation"] == {"uri": "train.py", "uriBaseId": "%SRCROOT%"}
    assert where["region"] == {
        "startLine": 8, "startColumn": 5, "endLine": 8, "endColumn": 21, "snippet": {"text": "optimizer.step()"},
    }  # fmt: skip
    assert [link["physicalLocation"]["region"]["startLine"] for link in result["relatedLocations"]] == [8, 7]
    assert run["invocations"] == [{"executionSuccessful": True}]


def test_sarif_has_what_its_schema_requires_of_every_part(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)
    (folder / "nb.ipynb").write_text(notebook(BAD))
    (folder / "broken.py").write_text("import torch.nn as nn\nclass A(nn.Module:\n")

    run = sarif(".", "nowhere")

    assert run["tool"]["driver"]["name"] == "stethoscope"
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert all(rule[part]["text"] for part in ("shortDescription", "fullDescription", "help"))
    for result in run["results"]:
        assert set(result) <= {
            "ruleId", "ruleIndex", "level", "message", "locations", "relatedLocations", "partialFingerprints",
            "properties", "suppressions", "fixes",
        }  # fmt: skip
        assert result["message"]["text"]
        assert result["level"] in ("error", "warning", "note")
        ids = [link["id"] for link in result.get("relatedLocations", ())]
        assert ids == sorted(set(ids))
        for location in (*result["locations"], *result.get("relatedLocations", ())):
            region = location["physicalLocation"].get("region", {"startLine": 1})
            assert region["startLine"] >= 1
            assert region.get("startColumn", 1) >= 1
    (done,) = run["invocations"]
    assert done["executionSuccessful"] is False
    assert [note["level"] for note in done["toolExecutionNotifications"]] == ["error", "warning"]


def test_sarif_has_the_repairs_as_stretches_of_the_file(folder: Path) -> None:
    (folder / "train.py").write_text(BAD + "model.eval\n")

    unsafe, safe = (result["fixes"] for result in sarif("train.py")["results"])

    def replaced(line: int, column: int, text: str) -> dict[str, Any]:
        region = {"startLine": line, "startColumn": column, "endLine": line, "endColumn": column}
        return {"deletedRegion": region, "insertedContent": {"text": text}}

    assert safe == [
        {
            "description": {"text": "Call it"},
            "artifactChanges": [
                {
                    "artifactLocation": {"uri": "train.py", "uriBaseId": "%SRCROOT%"},
                    "replacements": [replaced(9, 11, "()")],
                }
            ],
            "properties": {"safe": True},
        }
    ]
    assert unsafe[0]["description"]["text"].endswith("(unsafe: look at what it changes)")
    assert unsafe[0]["artifactChanges"][0]["replacements"] == [replaced(8, 21, "\n    optimizer.zero_grad()")]


def test_sarif_has_no_repair_of_a_notebook_whose_lines_are_those_of_its_json(folder: Path) -> None:
    (folder / "nb.ipynb").write_text(notebook(BAD))

    assert "fixes" not in sarif(".")["results"][0]


def test_sarif_names_the_cell_of_a_notebook_and_escapes_its_path(folder: Path) -> None:
    (folder / "my nb#1.ipynb").write_text(notebook(BAD))

    (result,) = sarif(".")["results"]

    location = result["locations"][0]
    assert location["physicalLocation"] == {"artifactLocation": {"uri": "my%20nb%231.ipynb", "uriBaseId": "%SRCROOT%"}}
    assert location["logicalLocations"][0]["name"] == "cell 3"
    assert result["message"]["text"].startswith("cell 3, line 3: ")


def test_fingerprints_stay_when_lines_move_and_tell_equal_lines_apart(folder: Path) -> None:
    def prints() -> list[str]:
        return [one["partialFingerprints"]["stethoscopeFinding/v1"] for one in sarif("train.py")["results"]]

    loop = BAD[BAD.index("for x") :]
    (folder / "train.py").write_text(BAD + loop)
    before = prints()
    (folder / "train.py").write_text(BAD.replace("\n\n", "\n\n# moved\n\n") + loop)

    assert len(set(before)) == 2
    assert prints() == before


def test_sarif_shows_an_allowed_finding_as_suppressed(folder: Path) -> None:
    (folder / "train.py").write_text(BAD.rstrip() + "  # stethoscope: allow missing-zero-grad -- summed\n")

    (result,) = sarif("train.py")["results"]

    assert result["suppressions"] == [{"kind": "inSource", "justification": "summed"}]


def test_github_gets_one_escaped_line_for_each_finding(folder: Path) -> None:
    (folder / "a,b:c%.py").write_text(BAD)
    (folder / "nb.ipynb").write_text(notebook(BAD))

    first, second = lint(".", "--format", "github")[1].splitlines()

    assert first.startswith(
        "::error file=a%2Cb%3Ac%25.py,line=8,endLine=8,col=5,endColumn=21,title=stethoscope%3A missing-zero-grad::"
    )
    assert second.startswith("::error file=nb.ipynb,line=1,title=stethoscope%3A missing-zero-grad::cell 3, line 3: ")


def test_gitlab_gets_a_report_with_a_fingerprint_of_its_own_for_each_finding(folder: Path) -> None:
    (folder / "train.py").write_text(BAD + BAD[BAD.index("for x") :])

    report = json.loads(lint(".", "--format", "gitlab")[1])

    assert [entry["location"] for entry in report] == [
        {"path": "train.py", "lines": {"begin": line, "end": line}} for line in (8, 11)
    ]
    assert {entry["check_name"] for entry in report} == {"missing-zero-grad"}
    assert {entry["severity"] for entry in report} == {"critical"}
    assert len({entry["fingerprint"] for entry in report}) == 2


def test_gitlab_gets_an_empty_list_where_nothing_is_wrong(folder: Path) -> None:
    assert lint(".", "--format", "gitlab") == (0, "[]\n")


def test_junit_has_a_failure_for_a_finding_and_a_passed_case_for_a_clean_file(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)
    (folder / "good.py").write_text(BAD + "    optimizer.zero_grad()\n")
    (folder / "broken.py").write_text("import torch.nn as nn\nclass A(nn.Module:\n")

    suite = ElementTree.fromstring(lint(".", "--format", "junit")[1])

    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
    (failure,) = suite.findall("testcase/failure")
    assert "optimizer.zero_grad()" in (failure.text or "")
    case = suite.find("testcase[@classname='stethoscope.missing-zero-grad']")
    assert case is not None
    assert (case.get("name"), case.get("file"), case.get("line")) == ("train.py:8", "train.py", "8")


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github", "junit", "gitlab"])
def test_a_file_takes_what_would_be_printed(folder: Path, form: str) -> None:
    (folder / "train.py").write_text(BAD)

    code, output = lint("train.py", "--format", form, "--output", "out")

    assert (code, output) == (1, "")
    assert "missing-zero-grad" in (folder / "out").read_text("utf-8")


def test_a_file_that_cannot_be_written_is_said_in_a_sentence(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot write nowhere"):
        raise _error("--output", "nowhere/out")


def _error(*arguments: str) -> BaseException:
    from click.testing import CliRunner

    from stethoscope.cli.lint import command

    error = CliRunner().invoke(command, [*arguments], standalone_mode=False).exception
    assert error is not None
    return error
