"""Configurations are found by name, a local file first, and are listed with their questions."""

from pathlib import Path

import yaml

from echo_e3net.files import find_shipped, shipped

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def test_every_configuration_is_listed_with_its_question(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    assert command("configs")[0] == 0
    for path in EXPERIMENTS.rglob("*.yaml"):
        question = path.read_text().partition("\n")[0].removeprefix("# ")
        name = str(path.relative_to(EXPERIMENTS))
        assert any(line.split()[:1] == [name] and question in line for line in command.output.splitlines()), name


def test_a_local_file_comes_first(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_shipped(Path("e3net.yaml")) == shipped() / "e3net.yaml"
    assert find_shipped(Path("experiments/ablations/no_detector.yaml")) == shipped() / "ablations/no_detector.yaml"
    assert find_shipped(Path("../e3net.yaml")) == Path("../e3net.yaml")
    assert command("fit", "-c", "e3net.yaml", "-c", "ablations/no_detector.yaml", "--print_config")[0] == 0
    assert yaml.safe_load(command.output)["model"]["network"]["init_args"]["detector"] is None
    (tmp_path / "e3net.yaml").write_text((EXPERIMENTS / "e3net.yaml").read_text().replace("name: e3net", "name: mine"))
    assert command("fit", "-c", "e3net.yaml", "--print_config")[0] == 0
    assert yaml.safe_load(command.output)["name"] == "mine"


def test_a_wrong_name_gets_a_hint(command):
    code, error = command("fit", "-c", "ablations/no_detektor.yaml")
    assert code == 2
    assert "ablations/no_detektor.yaml: No such file or directory. Did you mean ablations/no_detector.yaml?" in error
