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
