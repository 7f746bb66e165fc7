"""The command line of the trainer, as far as it needs no TensorFlow."""

import json
import subprocess
import sys

import pytest

from trainer.cli import main
from trainer.config import MODELS, RELEASED_STAGES, StageConfig, TrainingConfig, read_config
from trainer.config_flags import describe_fields


def print_config(capsys, *flags):
    assert main(["config", *flags]) == 0
    return read_config(capsys.readouterr().out, "printed")


@pytest.mark.parametrize("name", MODELS)
def test_released_configs_are_printed(capsys, name):
    assert print_config(capsys, f"--config={name}") == TrainingConfig(model=MODELS[name])


def test_printed_config_is_one_to_give(capsys, tmp_path):
    config = print_config(capsys, "--config=tiny", "--masking=dynamic", "--seed=4")
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(config.to_json()), encoding="utf-8-sig")
    assert print_config(capsys, f"--config={path}") == config
    assert (config.masking, config.seed) == ("dynamic", 4)


def test_flags_change_all_stages_or_each(capsys):
    config = print_config(
        capsys, "--config=tiny", "--optimizer_steps=30,3", "--micro_batch_size=8", "--seed=2"
    )
    assert [stage.optimizer_steps for stage in config.stages] == [30, 3]
    assert [stage.micro_batch_size for stage in config.stages] == [8, 8]
    assert [stage.learning_rate for stage in config.stages] == [
        stage.learning_rate for stage in RELEASED_STAGES
    ]


def test_switches_and_optimizer_are_changed(capsys):
    config = print_config(
        capsys, "--config=tiny", "--no-jit_compile", "--no-deterministic", "--optimizer=adamw"
    )
    assert (config.jit_compile, config.deterministic) == (False, False)
    assert config.optimizer.name == "adamw"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config=none.json"], "--config=none.json: neither base nor tiny, nor a file"),
        (["--config=tiny", "--optimizer_steps=1,2,3"], "=1,2,3: one number, or 2, one for each"),
        (["--config=tiny", "--optimizer_steps=many"], "=many: not numbers joined by commas"),
        (["--config=tiny", "--optimizer_steps=0"], "optimizer_steps must be a whole number"),
        (["--config=tiny", "--log_steps=0"], "--config=tiny: log_steps must be a whole number"),
    ],
)
def test_wrong_flags_are_named(capsys, flags, message):
    assert main(["config", *flags]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("trainer: ") and message in printed.err
    assert printed.err.count("\n") == 1


def test_config_file_that_is_wrong_is_named(capsys, tmp_path):
    (tmp_path / "mine.json").write_text('{"sed": 1}')
    assert main(["config", f"--config={tmp_path / 'mine.json'}"]) == 2
    assert "unknown field sed; fields are model, optimizer" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--stpes=3", "--precision=float16", "--optimiz=lamb"])
def test_unknown_flags_and_choices_are_errors(capsys, flag):
    with pytest.raises(SystemExit) as stopped:
        main(["config", "--config=tiny", flag])
    assert stopped.value.code == 2
    assert flag.partition("=")[0] in capsys.readouterr().err


def test_every_field_is_described():
    for config in (TrainingConfig, StageConfig):
        meanings = describe_fields(config)
        assert list(meanings) == list(config.__dataclass_fields__)
        assert all(len(meaning) > 10 for meaning in meanings.values())


@pytest.mark.parametrize("flags", [["--help"], ["export", "--help"], ["config", "--config=tiny"]])
def test_help_and_config_need_no_tensorflow(flags):
    program = (
        "import sys; from trainer.cli import main\n"
        f"try: main({flags})\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'numpy', 'bert4keras')))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert finished.returncode == 0
    assert "usage: " in finished.stdout or '"stages"' in finished.stdout


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    for command in ("train", "config", "fill-mask", "evaluate", "plot", "export", "import"):
        assert f"`{command}`" in printed


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("matplotlib", "plot {folder}/train.csv --output={folder}/a.png"),
        pytest.param(
            *("tensorflow_text", "export --model=m --format=saved_model --output=o"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("safetensors", "export --model=m --format=huggingface --output=o"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_missing_package_is_named_with_its_remedy(monkeypatch, capsys, tmp_path, missing, command):
    monkeypatch.setitem(sys.modules, missing, None)
    parts = [name for name in sys.modules if name.startswith(f"{missing}.")]
    for module in (*parts, "trainer.saved_model", "trainer.huggingface"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    header = "stage,max_seq_length,step,data,mlm_loss,mlm_acc,learning_rate"
    (tmp_path / "train.csv").write_text(f"{header}\n1,128,1,train,9,0,0\n")
    assert main(command.format(folder=tmp_path).split()) == 1
    printed = capsys.readouterr().err
    assert f"trainer: the package {missing} is missing: pip install '.[train]'" in printed
    assert printed.count("\n") == 1
