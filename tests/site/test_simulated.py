"""Whoever counts a simulator's claims hears of each that does not hold."""

from tests.simulated import ROOT, claims, read

REPORT = """<testsuites><testsuite>
<testcase classname="tests.x.simulator" name="test_good[1]"/>
<testcase classname="tests.x.simulator" name="test_bad[1]"/>
<testcase classname="tests.x.simulator" name="test_bad[2]">
<failure>no</failure></testcase>
<testcase classname="tests.x.simulator" name="test_left">
<skipped>why</skipped></testcase>
</testsuite></testsuites>"""


def test_a_failure_and_a_skip_of_any_case_are_told(tmp_path):
    (tmp_path / "report.xml").write_text(REPORT)
    file = ROOT / "tests/x/simulator.py"
    assert read(tmp_path / "report.xml") == {
        (file, "test_good"): "",
        (file, "test_bad"): "test_bad[2]\nno\n",
        (file, "test_left"): "test_left\nwhy\n",
    }


def test_claims_are_the_tests_of_the_file(tmp_path):
    file = tmp_path / "simulator.py"
    file.write_text("def test_a(): ...\ndef helper(): ...\ndef test_b(): ...")
    assert claims(file) == ["test_a", "test_b"]
