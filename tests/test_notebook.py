"""The Colab notebook runs from top to bottom outside Colab, twice: the second run resumes."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks/t5s_colab.ipynb"
STEPS, SAVED = 4, 2

# What someone changes in the settings, for a small model and few steps.
SETTINGS = f"""
CORPUS = {str(ROOT / "tests/data/nlp_chinese_corpus")!r}
DATA = "data"
MODEL = "model"
TRAINING = [
    "--config={ROOT / "examples/demo.json"}",
    "--optimizer_steps={STEPS}",
    "--warmup_steps=1",
    "--global_batch_size=8",
    "--micro_batch_size=8",
    "--no-jit_compile",
    "--log_steps=1",
    "--held_out_steps={SAVED}",
    "--save_steps={SAVED}",
]
"""


@pytest.fixture(scope="module", autouse=True)
def own_jupyter(tmp_path_factory):
    """Keeps what a user has set up for Jupyter and IPython, such as other kernels, out of it."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATA", "CONFIG", "RUNTIME"):
            patch.setenv(f"JUPYTER_{name}_DIR", str(folder / name.lower()))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.delenv("JUPYTER_PATH", raising=False)
        yield


def read_notebook():
    return nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)


def run_notebook(folder):
    """Runs all cells in a folder; returns those with code by their ids."""
    notebook = read_notebook()
    place = [cell.id for cell in notebook.cells].index("settings")
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(SETTINGS))
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def printed(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def read_files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The cells of two runs, and the model after each; between them the last steps are lost."""
    folder = tmp_path_factory.mktemp("notebook")
    model = folder / "model"
    first = run_notebook(folder)
    first_files = read_files(model)
    shutil.rmtree(model / f"checkpoints/1-128-{STEPS:08d}")
    shutil.rmtree(model / "exports/released")
    second = run_notebook(folder)
    return first, first_files, second, read_files(model)


def test_committed_notebook_is_valid_and_holds_no_outputs():
    notebook = read_notebook()
    nbformat.validate(notebook)
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code_cells) == 9
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells)


def test_what_only_colab_has_is_in_one_cell_that_does_nothing_elsewhere(runs):
    code = {cell.id: cell.source for cell in read_notebook().cells if cell.cell_type == "code"}
    assert [key for key, source in code.items() if "google" in source or "%pip" in source] == [
        "colab"
    ]
    assert runs[0]["colab"].outputs == []


def test_first_run_builds_data_and_trains(runs):
    first, files, *_ = runs
    assert "Shards, vocabulary and dataset_info.json: data/tfrecords" in printed(first["data"])
    said = printed(first["train"])
    assert "Going on" not in said and "All stages are trained." in said
    assert [line.split(b",")[2:4] for line in files["train.csv"].splitlines()[1:3]] == [
        [b"1", b"train"],
        [b"2", b"train"],
    ]


def test_bar_is_seen_in_the_notebook(runs):
    assert f"| {STEPS}/{STEPS} [" in printed(runs[0]["train"])


def test_second_run_takes_the_shards_and_resumes(runs):
    _, first_files, second, second_files = runs
    assert printed(second["data"]) == "Shards: data/tfrecords\n"
    said = printed(second["train"])
    assert f"Going on from stage 1, step {SAVED}" in said and "All stages are trained." in said
    assert second_files["train.csv"] == first_files["train.csv"]
    last = f"checkpoints/1-128-{STEPS:08d}/variables.data-00000-of-00001"
    assert second_files[last] == first_files[last]


def test_both_runs_draw_curves_evaluate_and_fill_in(runs):
    first, _, second, _ = runs
    for cells in (first, second):
        (picture,) = (data for data in cells["curves"].outputs if "data" in data)
        assert picture.data["image/png"].startswith("iVBOR")
        assert "webtext2019zh" in printed(cells["evaluate"])
        filled = printed(cells["fill"])
        assert all(text in filled for text in ("今天[MASK]气很好。", "北京是中国的[MASK]都。"))
        assert filled.count("  0.00") == 3 * 5
    assert printed(second["evaluate"]) == printed(first["evaluate"])
    assert printed(second["fill"]) == printed(first["fill"])


def test_exports_are_written_and_written_again(runs):
    _, first, _, second = runs
    names = {name for name in first if name.startswith("exports/")}
    assert {
        "exports/released/model.h5",
        "exports/saved_model/saved_model.pb",
        "exports/huggingface/model.safetensors",
    } <= names
    assert {name for name in second if name.startswith("exports/")} == names
    weights = "exports/huggingface/model.safetensors"
    assert second[weights] == first[weights]
