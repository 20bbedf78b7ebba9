"""What the plots show: the lines, the diagonal, the legend and the texts of the figures that are saved."""

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure

import inceptionzoo as iz
from inceptionzoo.evaluation import Result, save_curves


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved."""
    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure))
    return saved


def result(classes: int, names: tuple[str, ...] | None = None) -> Result:
    """Return a result of images whose class `k` has probabilities that are larger for `k` in most images."""
    targets = torch.arange(6 * classes) % classes
    logits = torch.eye(classes)[targets] + torch.randn(len(targets), classes, generator=torch.Generator().manual_seed(0))
    metrics = {"accuracy": 0.5, "auc": 0.5}
    return Result(logits.softmax(1), targets, 0.0, metrics, names or tuple(map(str, range(classes))))


def texts(axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("plot", ["plot_roc", "plot_calibration", "plot_precision_recall"])
def test_the_diagonal_is_that_of_the_unit_square(figures, plot):
    getattr(result(2), plot)("unused.png")
    axes = figures[0].axes[0]
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_xydata().tolist() for line in dashed] == ([] if "recall" in plot else [[[0, 0], [1, 1]]])
    assert axes.get_xlim() == (0, 1)
    assert axes.get_aspect() == 1


def test_a_roc_curve_has_its_points_and_its_area(figures):
    found = result(2, ("cat", "dog"))
    found.plot_roc("unused.png")
    ((false, true, _),) = found.roc
    _, curve = figures[0].axes[0].lines
    assert curve.get_xydata().tolist() == torch.stack((false, true), 1).tolist()
    assert texts(figures[0].axes[0]) == [f"dog (AUC {torch.trapezoid(true, false):.3f})"]
    assert 0.5 < torch.trapezoid(true, false) < 1


def drawn_area(line) -> float:
    """Return the area under a line as matplotlib draws it, whichever direction it has."""
    points = line.get_xydata().T
    style = line.get_drawstyle()
    x, y = points if style == "default" else STEP_LOOKUP_MAP[style](*points)
    return abs(float(torch.trapezoid(torch.tensor(y), torch.tensor(x))))


@pytest.mark.parametrize("scores", [[0.9, 0.8, 0.7, 0.4], [0.5] * 4, [0.9, 0.7, 0.7, 0.4]], ids=["different", "equal", "tie"])
@pytest.mark.parametrize("plot", ["plot_roc", "plot_precision_recall"])
def test_the_area_drawn_is_that_of_the_legend(figures, plot, scores):
    positive = torch.tensor(scores)
    targets = torch.tensor([0, 1, 0, 1])
    getattr(Result(torch.stack((1 - positive, positive), 1), targets, 0.0, {"auc": 0.5}, ("a", "b")), plot)("unused.png")
    axes = figures[0].axes[0]
    assert f"{drawn_area(axes.lines[-1]):.3f}" in texts(axes)[0]


@pytest.mark.parametrize(("classes", "shown"), [(2, 1), (3, 3), (10, 10), (11, 0)])
@pytest.mark.parametrize(("plot", "measure"), [("plot_roc", "(AUC "), ("plot_precision_recall", "(average precision ")])
def test_the_legend_has_up_to_ten_curves(figures, classes, shown, plot, measure):
    getattr(result(classes), plot)("unused.png")
    found = texts(figures[0].axes[0])
    assert len(found) == shown
    assert all(measure in text for text in found)
    assert [text.split()[0] for text in found] == [str(index) for index in range(classes)][-shown or classes :]


def test_names_are_shown_as_they_are(figures, tmp_path):
    """A "$" begins no formula, and matplotlib leaves out of the legend what begins with "_"."""
    found = result(3, ("_background", "$5 to $10", "$a^$\udce9"))
    found.plot_roc("unused.png"), found.plot_precision_recall("unused.png"), found.plot("unused.png")
    escaped = [" _background", r"\$5 to \$10", r"\$a^\$?"]
    for figure in figures[:2]:
        assert [text.split(" (")[0] for text in texts(figure.axes[0])] == escaped
    confusion = figures[2].axes[0]
    for labels in (confusion.get_xticklabels(), confusion.get_yticklabels()):
        assert [label.get_text() for label in labels] == escaped
    for figure in figures:
        FigureCanvasAgg(figure).print_png(tmp_path / "drawn.png")  # matplotlib would raise at a formula that is not closed


def test_the_curves_of_a_history(figures):
    rows = [{"epoch": n, "lr": 0.1, "loss": 2.0 - n, "val_loss": 3.0 - n, "accuracy": 0.5, "auc": 0.6} for n in range(3)]
    save_curves(rows, "unused.png")
    loss, accuracy, auc, lr = figures[0].axes
    assert texts(loss) == ["training", "validation"]
    assert [line.get_ydata().tolist() for line in loss.lines] == [[2, 1, 0], [3, 2, 1]]
    assert texts(accuracy) == texts(auc) == ["training"]
    assert texts(lr) == []
    assert [axes.get_title() for axes in figures[0].axes] == ["loss", "accuracy", "AUC", "learning rate"]
    save_curves(rows[:1], "unused.png")
    assert [line.get_ydata().tolist() for line in figures[1].axes[0].lines] == [[2], [3]]


def test_a_calibration_plot_has_a_point_for_each_bin(figures):
    found = result(2)
    found.plot_calibration("unused.png")
    axes = figures[0].axes[0]
    assert sum(int(text.get_text()) for text in axes.texts) == len(found.targets)
    assert f"error {found.calibration_error:.3f}" in axes.get_title()
    assert texts(axes) == []


def test_a_confusion_matrix_has_its_counts(figures):
    found = result(3)
    found.plot("unused.png")
    axes = figures[0].axes[0]
    assert [int(text.get_text()) for text in axes.texts] == found.confusion.flatten().tolist()
    assert [text.get_position() for text in axes.texts[:2]] == [(0, 0), (1, 0)]  # x is the prediction


def test_the_plot_of_many_classes_has_a_limited_size(figures):
    result(1000).plot("unused.png")
    assert max(figures[0].get_size_inches()) == 30
    assert len(figures[0].axes[0].get_xticks()) < 30  # class indices, in place of names that would overlap


def test_there_is_no_curve_of_one_class():
    one = Result(torch.rand(3, 2), torch.zeros(3, dtype=torch.long), 0.0, {"auc": float("nan")}, ("a", "b"))
    with pytest.raises(iz.ArgumentError, match="only one class is present in the targets"):
        one.plot_roc("unused.png")
    none = Result(torch.rand(3, 2), torch.zeros(3, 2), 0.0, {"auc": float("nan")}, ("a", "b"), "multilabel")
    with pytest.raises(iz.ArgumentError, match="no label has images with it and without it"):
        none.plot_roc("unused.png")
