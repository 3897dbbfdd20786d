import pytest

from geocsp.demo.report import differences_of, table_of, text_rows
from geocsp.evaluate.results import Measure

PLACED = ("location", "product", "fused", "guarded")
ROWS = {"image": "Img.Only", "sup-grid": "Sup.Only (grid)", "csp-mc-bld": "CSP", "best": "best"}
TOP1 = {
    # (row, regime): image, then location, product, fused and guarded, each with half an interval
    ("image", "none"): [(0.4, 0.01)],
    ("sup-grid", "none"): [(0.4, 0.01), (0.3, 0.02), (0.35, 0), (0.45, 0), (0.44, 0)],
    ("csp-mc-bld", "inductive"): [(0.4, 0.01), (0.5, 0.03), (0.45, 0), (0.54, 0), (0.44, 0)],
    ("csp-mc-bld", "transductive"): [(0.4, 0.01), (0.6, 0), (0.65, 0), (0.66, 0), (0.68, 0)],
    ("best", "inductive"): [(0.5, 0), (0.5, 0), (0.5, 0), (0.9, 0), (0.6, 0)],
}
SHOTS = ["3 per class", "5 %"]


def cell(key, values, shot):
    def interval(mean, half):
        return {"top1": {"mean": mean, "low": mean - half, "high": mean + half, "runs": 4}}

    fewer = 0.1 if shot == "3 per class" else 0.0
    row, regime = key
    return {"task": "landcover", "shot": shot, "row": row, "regime": regime, "labels": 10.0} | {
        name: interval(mean - fewer, half)
        for name, (mean, half) in zip(("image", *PLACED), values, strict=False)
    }


def comparison(first, second, measure, shot, regime="inductive"):
    against = "image" if first == second else measure
    return {"task": "landcover", "shot": shot, "regime": regime, "measure": measure} | {
        "first": first, "second": second, "against": against, "difference": 0.01, "low": -0.01,
        "high": 0.03, "p": 0.2, "p_corrected": 0.4, "significant": False,
    }  # fmt: skip


FACTS = {
    "data": {"tasks": {"landcover": ["a", "b"]}, "shots": SHOTS},
    "rows": {name: {"label": label} for name, label in ROWS.items()},
    "baseline": "sup-grid",
    "table": [cell(key, values, shot) for shot in SHOTS for key, values in TOP1.items()],
    "comparisons": [
        comparison(first, second, measure, shot, regime)
        for first, second in [("best", "sup-grid"), ("best", "csp-mc-bld"), ("best", "best"),
                              ("csp-mc-bld", "sup-grid"), ("csp-mc-bld", "csp-mc-bld")]
        for measure in ("image", *PLACED)
        for shot in SHOTS
        for regime in ("inductive", "transductive")
        if not (first == second and measure in ("image", "location"))
    ],
}  # fmt: skip


def test_the_place_alone_has_no_row_of_images():
    location = dict(table_of(FACTS, "landcover", "inductive", Measure.LOCATION))
    assert list(location) == ["Sup.Only (grid)", "CSP", "best"]
    fused = dict(table_of(FACTS, "landcover", "inductive", Measure.FUSED))
    assert list(fused) == list(ROWS.values())


def test_a_cell_has_mean_half_interval_and_gain_over_the_baseline_in_the_same_measure():
    cells = dict(table_of(FACTS, "landcover", "inductive", Measure.LOCATION))["CSP"]
    assert [c["mean"] for c in cells] == pytest.approx([0.4, 0.5])
    assert [c["half_width"] for c in cells] == pytest.approx([0.03, 0.03])
    assert [c["relative_gain"] for c in cells] == pytest.approx([0.4 / 0.2 - 1, 0.5 / 0.3 - 1])


def test_pre_training_on_all_tiles_has_a_table_of_its_own_with_the_rows_that_do_without():
    table = dict(table_of(FACTS, "landcover", "transductive", Measure.GUARDED))
    assert list(table) == ["Img.Only", "Sup.Only (grid)", "CSP"]
    assert table["CSP"][1]["mean"] == pytest.approx(0.68)


def test_rows_of_text_have_percent_interval_and_gain():
    rows = {label: cells for label, *cells in text_rows(FACTS, "landcover", "inductive", "5 %")}
    assert rows["CSP"] == ["50.0 ±3.0 (+67%)", "45.0 (+29%)", "54.0 (+20%)", "44.0"]
    assert rows["Img.Only"] == ["-", "40.0 ±1.0", "40.0 ±1.0", "40.0 ±1.0"]
    assert rows["Sup.Only (grid)"] == ["30.0 ±2.0", "35.0", "45.0", "44.0"]


def test_differences_are_those_of_ours_and_the_paper_after_inductive_pre_training():
    found = differences_of(FACTS, "landcover")
    labels = [label for label, _ in found]
    named = ("location alone", "plain product", "calibrated product", "guarded product")
    pairs = ("best − Sup.Only (grid)", "best − CSP", "CSP − Sup.Only (grid)")
    expected = [f"{pair}, {name}" for pair in pairs for name in named]
    assert labels == expected + [f"best − its image alone, {name}" for name in named[1:]]
    for _, cells in found:
        assert [c["shot"] for c in cells] == SHOTS
        assert {c["regime"] for c in cells} == {"inductive"}
