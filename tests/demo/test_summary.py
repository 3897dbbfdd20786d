import math

import pytest

from geocsp.demo.summary import MEASURES, summarise

RUNS = [(1, 0), (1, 1), (2, 0), (2, 1)]
T_3 = 3.182446305284263  # 97.5 % quantile of Student's t with 3 degrees of freedom
IMAGE = [0.40, 0.44, 0.50, 0.46]
ALIGNED = [0.45, 0.47, 0.49, 0.55]
SUPERVISED = [0.20, 0.30, 0.40, 0.30]
PAPER = [0.25, 0.29, 0.45, 0.41]
OURS = [0.35, 0.25, 0.50, 0.50]


def records_of(method, regime, location, image, shot="10 %"):
    return [
        {
            "method": method,
            "regime": regime,
            "fold": fold,
            "seed": seed,
            "task": "landcover",
            "shot": shot,
            "labels": 100 + 10 * fold,
            "image": image[number],
            "location": location[number],
            "product": location[number] + 0.1,
            "fused": location[number] + 0.2,
        }
        for number, (fold, seed) in enumerate(RUNS)
    ]


@pytest.fixture
def records():
    return [
        *records_of("sup-grid", "none", SUPERVISED, IMAGE),
        *records_of("csp-mc", "inductive", PAPER, IMAGE),
        *records_of("csp-mc", "transductive", OURS, IMAGE),
        *records_of("best", "inductive", OURS, ALIGNED),
    ]


def only(rows, **facts):
    (row,) = [row for row in rows if all(row[key] == value for key, value in facts.items())]
    return row


def test_a_cell_is_the_mean_and_interval_over_folds_and_seeds(records):
    table = summarise(records)["table"]
    location = only(table, method="csp-mc", regime="inductive")["location"]
    # mean 0.35, deviations -.1 -.06 .1 .06: variance 0.0272 / 3
    assert location["mean"] == pytest.approx(0.35)
    assert location["half_width"] == pytest.approx(T_3 * math.sqrt(0.0272 / 3 / 4))
    assert location["count"] == 4


def test_labels_are_the_mean_number_over_the_runs(records):
    assert {row["labels"] for row in summarise(records)["table"]} == {115.0}


@pytest.mark.parametrize(
    ("measure", "gain"), [("location", 1 / 6), ("product", 0.05 / 0.4), ("fused", 0.1)]
)
def test_the_gain_is_relative_to_supervised_training_in_the_same_measure(records, measure, gain):
    table = summarise(records)["table"]
    assert only(table, method="sup-grid")[measure]["relative_gain"] == 0
    row = only(table, method="csp-mc", regime="inductive")
    assert row[measure]["relative_gain"] == pytest.approx(gain)


def test_regimes_are_rows_of_their_own(records):
    table = summarise(records)["table"]
    transductive = only(table, method="csp-mc", regime="transductive")
    assert transductive["location"]["mean"] == pytest.approx(0.40)
    assert transductive["location"]["relative_gain"] == pytest.approx(1 / 3)


def test_images_alone_have_a_row_for_each_image_head(records):
    table = summarise(records)["table"]
    assert only(table, method="image")["image"]["mean"] == pytest.approx(0.45)
    assert only(table, method="image-aligned")["image"]["mean"] == pytest.approx(0.49)
    assert len(table) == 4 + 2


def test_shots_and_tasks_are_not_mixed(records):
    more = [
        *records_of("sup-grid", "none", OURS, IMAGE, shot="1 per class"),
        *records_of("csp-mc", "inductive", OURS, IMAGE, shot="1 per class"),
        *records_of("best", "inductive", OURS, IMAGE, shot="1 per class"),
    ]
    climate = [record | {"task": "climate", "location": 0.9} for record in records]
    results = summarise([*records, *more, *climate])
    facts = {"method": "csp-mc", "regime": "inductive"}
    cells = {
        (row["task"], row["shot"]): row["location"]
        for row in results["table"]
        if all(row[key] == value for key, value in facts.items())
    }
    means = {key: cell["mean"] for key, cell in cells.items()}
    assert means == pytest.approx(
        {("landcover", "10 %"): 0.35, ("landcover", "1 per class"): 0.4, ("climate", "10 %"): 0.9}
    )
    assert cells["landcover", "1 per class"]["relative_gain"] == pytest.approx(0)
    groups = {(row["task"], row["shot"]) for row in results["comparisons"]}
    assert groups == set(means)


def test_a_comparison_pairs_the_runs_of_a_fold_and_a_seed(records):
    comparisons = summarise(records)["comparisons"]
    found = only(comparisons, first="csp-mc location", second="sup-grid location")
    # differences .05 -.01 .05 .11: mean .05, squared deviations 0 .0036 0 .0036
    assert found["difference"]["mean"] == pytest.approx(0.05)
    assert found["difference"]["half_width"] == pytest.approx(T_3 * math.sqrt(0.0072 / 3 / 4))
    assert (found["folds_won"], found["folds"]) == (2, 2)


def test_a_fold_is_won_by_its_mean_over_the_seeds(records):
    comparisons = summarise(records)["comparisons"]
    found = only(comparisons, first="best location", second="csp-mc location")
    # fold 1: .10 - .04 > 0, fold 2: .05 + .09 > 0
    assert (found["folds_won"], found["folds"]) == (2, 2)
    for record in records:
        if record["method"] == "best" and record["seed"] == 0 and record["fold"] == 1:
            record["location"] = 0.28  # fold 1: .03 - .04 < 0
    found = only(summarise(records)["comparisons"], first="best location", second="csp-mc location")
    assert (found["folds_won"], found["folds"]) == (1, 2)


def test_pairs_are_matched_by_fold_and_seed_and_not_by_their_order(records):
    expected = summarise(records)["comparisons"]
    shuffled = records[:4] + records[4:8][::-1] + records[8:]
    for first, second in zip(summarise(shuffled)["comparisons"], expected, strict=True):
        for key in ("mean", "half_width"):
            assert first["difference"][key] == pytest.approx(second["difference"][key])


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("first", "second"), [("csp-mc", "sup-grid"), ("best", "sup-grid"), ("best", "csp-mc")]
)
def test_every_pair_of_rows_is_compared_in_every_measure(records, first, second, measure):
    comparisons = summarise(records)["comparisons"]
    only(comparisons, first=f"{first} {measure}", second=f"{second} {measure}")


def test_the_fused_answer_is_compared_with_image_and_place_alone(records):
    comparisons = summarise(records)["comparisons"]
    image = only(comparisons, first="best fused", second="best image")
    # .55 .45 .70 .70 against the aligned image .45 .47 .49 .55
    assert image["difference"]["mean"] == pytest.approx((0.10 - 0.02 + 0.21 + 0.15) / 4)
    place = only(comparisons, first="best fused", second="best location")
    assert place["difference"]["mean"] == pytest.approx(0.2)
    assert place["difference"]["half_width"] == pytest.approx(0, abs=1e-12)


def test_the_image_heads_are_compared(records):
    found = only(summarise(records)["comparisons"], first="best image", second="sup-grid image")
    assert found["difference"]["mean"] == pytest.approx(0.04)
    assert (found["folds_won"], found["folds"]) == (2, 2)


def test_a_single_run_has_no_interval(records):
    single = [record for record in records if record["fold"] == 1 and record["seed"] == 0]
    results = summarise(single)
    row = only(results["table"], method="csp-mc", regime="inductive")
    assert row["location"]["half_width"] is None
    assert all(row["difference"]["half_width"] is None for row in results["comparisons"])
    assert all(row["folds"] == 1 for row in results["comparisons"])
