import pytest

from geocsp.demo.report import labels_of, table_of, text_rows
from geocsp.demo.summary import summarise

ACCURACY = {
    # method, regime: (image, location, product, fused) on fold 1 and on fold 2
    ("sup-grid", "none"): ((0.5, 0.4, 0.5, 0.5), (0.3, 0.2, 0.3, 0.4)),
    ("csp-mc", "inductive"): ((0.5, 0.6, 0.5, 0.7), (0.3, 0.4, 0.4, 0.5)),
    ("best", "inductive"): ((0.6, 0.5, 0.6, 0.6), (0.5, 0.5, 0.5, 0.6)),
}


def records():
    names = ("image", "location", "product", "fused")
    return [
        {"method": method, "regime": regime, "fold": fold, "seed": 0, "task": "landcover",
         "shot": "5 %", "labels": 10 * fold} | dict(zip(names, values, strict=True))
        for (method, regime), folds in ACCURACY.items()
        for fold, values in enumerate(folds, start=1)
    ]  # fmt: skip


def row(summary, method):
    return next(row for row in summary["table"] if row["method"] == method)


def test_means_intervals_and_gains():
    summary = summarise(records())
    paper = row(summary, "csp-mc")
    assert paper["labels"] == 15
    assert paper["location"]["mean"] == pytest.approx(0.5)
    assert paper["location"]["half_width"] == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert paper["location"]["relative_gain"] == pytest.approx(0.5 / 0.3 - 1)
    assert row(summary, "sup-grid")["fused"]["relative_gain"] == 0


def test_image_rows_come_from_the_heads_of_supervised_and_ours():
    summary = summarise(records())
    assert row(summary, "image")["image"]["mean"] == pytest.approx(0.4)
    assert row(summary, "image-aligned")["image"]["mean"] == pytest.approx(0.55)
    assert row(summary, "image-aligned")["regime"] == "inductive"


@pytest.mark.parametrize(
    ("first", "second", "mean", "won"),
    [
        ("csp-mc location", "sup-grid location", 0.2, 2),
        ("csp-mc fused", "sup-grid fused", 0.15, 2),
        ("best fused", "csp-mc fused", 0.0, 1),
        ("best image", "sup-grid image", 0.15, 2),
        ("csp-mc fused", "csp-mc location", 0.1, 2),
        ("sup-grid fused", "sup-grid image", 0.05, 1),
    ],
)
def test_pairs_are_compared_on_the_same_fold_and_seed(first, second, mean, won):
    (found,) = [
        pair
        for pair in summarise(records())["comparisons"]
        if (pair["first"], pair["second"]) == (first, second)
    ]
    assert found["difference"]["mean"] == pytest.approx(mean)
    assert (found["folds_won"], found["folds"]) == (won, 2)


def results():
    methods = {name: {"label": name.upper()} for name, _ in ACCURACY}
    return summarise(records()) | {"methods": methods}


def test_tables_leave_out_what_has_no_place():
    location = dict(table_of(results(), "landcover", "inductive", "location"))
    assert list(location) == ["SUP-GRID", "CSP-MC", "BEST"]
    fused = dict(table_of(results(), "landcover", "inductive", "fused"))
    assert list(fused) == list(labels_of(results()).values())


def test_rows_of_text_have_percent_interval_and_gain():
    rows = {label: cells for label, *cells in text_rows(results(), "landcover", "inductive", "5 %")}
    assert rows["CSP-MC"] == ["50.0 ±127.1 (+67%)", "45.0 ±63.5 (+12%)", "60.0 ±127.1 (+33%)"]
    assert rows["Img.Only"] == ["-", "40.0 ±127.1", "40.0 ±127.1"]
