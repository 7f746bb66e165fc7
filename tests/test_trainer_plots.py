"""Curves: which points, lines and names are in a picture, and the bytes of its file."""

import matplotlib as mpl
import numpy as np
import pytest

from trainer.plots import draw_runs, plot_runs, smooth
from trainer.train_log import TRAIN, LogLine

STEPS = range(10, 1010, 10)
CORPORA = ("news2016zh", "wiki2019zh")


def make_run(offset, stages=((1, 128),), corpora=CORPORA):
    """Lines of a run: the loss falls, the accuracy rises, held out every 250 steps."""
    lines = []
    for stage, length in stages:
        for step in STEPS:
            noise = 0.2 * (step // 10 % 2)
            loss, accuracy = offset + 9 - step / 200 + noise, step / 2000
            lines.append(LogLine(stage, length, step, TRAIN, loss, accuracy, 1e-3))
            if step % 250 == 0:
                lines += [
                    LogLine(stage, length, step, corpus, loss + number, accuracy / 2, 1e-3)
                    for number, corpus in enumerate(corpora, 1)
                ]
    return lines


def lines_of(panel):
    """Returns the plotted lines: marker, label, steps and values of each."""
    return [
        (line.get_marker(), line.get_label(), line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in panel.get_lines()
    ]


def points_of(run, data, metric, stage=1):
    found = [line for line in run if (line.data, line.stage) == (data, stage)]
    return [line.step for line in found], [getattr(line, metric) for line in found]


def test_one_run_has_its_points_a_smoothed_line_and_held_out_points_by_corpus():
    run = make_run(0)
    figure = draw_runs({"tiny": run}, {})
    assert len(figure.axes) == 2
    for panel, metric in zip(figure.axes, ("mlm_loss", "mlm_acc"), strict=True):
        raw, smoothed, *held_out = lines_of(panel)
        assert (raw[0], *raw[2:]) == (".", *points_of(run, TRAIN, metric))
        assert (smoothed[0], smoothed[1], smoothed[2]) == ("None", "training", raw[2])
        assert smoothed[3] == smooth(np.array(raw[3]), 2).tolist()
        for corpus, (marker, label, *points) in zip(CORPORA, held_out, strict=True):
            assert marker not in (".", "None") and label == f"held out, {corpus}"
            assert points == [*points_of(run, corpus, metric)]
            assert points[0] == [250, 500, 750, 1000]


def test_axes_and_stages_are_labelled():
    figure = draw_runs({"tiny": make_run(0, ((1, 128), (2, 512)))}, {})
    loss_1, loss_2, accuracy_1, accuracy_2 = figure.axes
    assert [panel.get_title() for panel in (loss_1, loss_2)] == [
        "Stage 1, sequences of 128 tokens",
        "Stage 2, sequences of 512 tokens",
    ]
    assert loss_1.get_ylabel() == "masked-LM loss (nats)"
    assert accuracy_1.get_ylabel() == "masked-LM accuracy"
    assert {panel.get_xlabel() for panel in (accuracy_1, accuracy_2)} == {"optimizer steps"}
    assert accuracy_1.yaxis.get_major_formatter()(0.25) == "25%"
    assert accuracy_1.xaxis.get_major_formatter()(250_000) == "250,000"


def test_several_runs_have_a_colour_each_and_their_names():
    runs = {"tiny": make_run(0), "base": make_run(-1, corpora=CORPORA[:1])}
    figure = draw_runs(runs, {})
    lines = figure.axes[0].get_lines()
    tiny, base = lines[:4], lines[4:]
    for of_run, name in ((tiny, "tiny"), (base, "base")):
        assert of_run[1].get_label() == name
        assert len({line.get_color() for line in of_run}) == 1
        assert of_run[0].get_ydata().tolist() == points_of(runs[name], TRAIN, "mlm_loss")[1]
    assert tiny[0].get_color() != base[0].get_color()
    assert [line.get_marker() for line in tiny[2:]] == [line.get_marker() for line in base[2:]]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("tiny", "base", "held out, news2016zh", "held out, wiki2019zh")
    ]


FIVE = ("baike2018qa", "news2016zh", "translation2019zh", "webtext2019zh", "wiki2019zh")


@pytest.mark.parametrize("stages", [((1, 128),), ((1, 128), (2, 512))])
@pytest.mark.parametrize("names", [["tiny"], ["tiny", "base"], ["one", "two", "a-longer-name"]])
def test_legend_lies_in_the_picture_and_below_the_panels(stages, names):
    figure = draw_runs({name: make_run(0, stages, FIVE) for name in names}, {"at random": 9.52})
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1 and legend.y0 >= 0
    assert legend.y1 <= figure.axes[-1].get_tightbbox().y0
    assert len(figure.legends[0].get_texts()) == len(FIVE) + len(names) + 1


def test_small_accuracies_have_labels_that_differ():
    lines = [LogLine(1, 128, step, TRAIN, 9.0, step / 1e6, 1e-3) for step in STEPS]
    figure = draw_runs({"tiny": lines}, {})
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert len({*labels}) == len(labels) > 3


def test_run_that_has_not_come_to_a_stage_has_no_point_there():
    runs = {"two": make_run(0, ((1, 128), (2, 512))), "one": make_run(0)}
    figure = draw_runs(runs, {})
    of_two, of_one = figure.axes[1].get_lines()[:2], figure.axes[1].get_lines()[4:6]
    assert len(of_two[0].get_xdata()) == 100
    assert all(len(line.get_xdata()) == 0 for line in of_one)


def test_baseline_is_a_line_across_every_loss():
    figure = draw_runs({"tiny": make_run(0, ((1, 128), (2, 512)))}, {"guessing at random": 9.52})
    for panel, count in zip(figure.axes, (1, 1, 0, 0), strict=True):
        found = [line for line in panel.get_lines() if line.get_label() == "guessing at random"]
        assert [line.get_ydata() for line in found] == [[9.52, 9.52]] * count


def test_running_mean_takes_values_around_each():
    values = np.array([0.0, 3.0, 6.0, 0.0, 0.0])
    assert smooth(values, 1).tolist() == values.tolist()
    assert smooth(values, 3).tolist() == [1.5, 3.0, 3.0, 2.0, 0.0]
    assert smooth(values, 2).tolist() == [1.5, 4.5, 3.0, 0.0, 0.0]
    assert smooth(np.array([]), 3).tolist() == []


def test_files_are_what_their_endings_say_and_have_the_same_bytes_again(tmp_path):
    names = ("a.png", "a.svg", "a.PDF")
    for folder in ("one", "other"):
        with mpl.rc_context({"font.size": 12 if folder == "one" else 10}):
            plot_runs({"tiny": make_run(0)}, [f"{tmp_path}/{folder}/{name}" for name in names])
    begins = (b"\x89PNG\r\n", b"<?xml", b"%PDF-")
    for name, begin in zip(names, begins, strict=True):
        content = (tmp_path / "one" / name).read_bytes()
        assert content.startswith(begin)
        assert content == (tmp_path / "other" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(names)
    text = (tmp_path / "one/a.svg").read_text("utf-8")
    assert ">held out, news2016zh<" in text  # text stays text


def test_run_without_a_line_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^tiny: has no line yet$"):
        plot_runs({"tiny": []}, [f"{tmp_path}/a.png"])
    assert list(tmp_path.iterdir()) == []


def test_other_endings_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"a\.gif: must end in \.png, \.svg, \.pdf"):
        plot_runs({"tiny": make_run(0)}, [f"{tmp_path}/a.png", f"{tmp_path}/a.gif"])
    assert list(tmp_path.iterdir()) == []
