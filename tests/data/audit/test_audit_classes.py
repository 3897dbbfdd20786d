from geocsp.data.audit.classes import ClassSize, classes_of, findings_of_classes
from geocsp.data.audit.findings import Finding, Severity, Topic, worst_first
from geocsp.data.audit.reasons import Reason, reasons_of
from geocsp.data.quarantine import Problem
from geocsp.data.table import Categories


def labels(**sizes):
    return Categories.of([name for name, size in sizes.items() for _ in range(size)])


def findings(label):
    found = findings_of_classes(classes_of(label), len(label))
    return [(str(f.severity), f.rows, f.message) for f in found]


def test_no_labels_are_no_classes():
    assert classes_of(None) is None
    assert classes_of(Categories.of([None, ""])) is None
    assert findings_of_classes(None, 5) == []


def test_the_balance_is_measured_over_classes_with_images():
    label = labels(a=40, b=10, c=8, d=7, e=6, f=5, g=3, h=1)
    label = label.take(label.codes >= 0)
    label = Categories.of([*label.texts().to_pylist(), None, None])
    unused = Categories(label.codes, (*label.names, "never seen"))
    found = classes_of(unused)
    assert (found.count, found.unlabelled) == (8, 2)
    assert (found.smallest, found.median, found.largest) == (1, 6.5, 40)
    assert (found.rare, found.rare_rows, found.imbalance) == (2, 4, 40)
    assert [size.name for size in found.most] == ["a", "b", "c", "d", "e"]
    assert found.least == (ClassSize("f", 5), ClassSize("g", 3), ClassSize("h", 1))


def test_few_classes_are_all_among_the_largest():
    found = classes_of(labels(a=5, b=6))
    assert found.most == (ClassSize("b", 6), ClassSize("a", 5))
    assert found.least == ()


def test_what_is_wrong_with_classes_is_told():
    assert findings(labels(a=5, b=6)) == []
    assert findings(labels(owl=9)) == [
        ("warning", 9, "all of one class, 'owl': there is nothing to tell apart")
    ]
    assert findings(labels(a=500, b=4)) == [
        ("warning", 4, "in the 1 class that has fewer than 5 images"),
        ("info", 504, "in classes of 4 to 500 images: uneven"),
    ]
    many = Categories.of([f"name {n}" for n in range(30)])
    assert findings(many)[0] == (
        "warning",
        30,
        "of 30 classes: is the label column really one of classes?",
    )
    assert findings(many)[1] == (
        "warning",
        30,
        "in the 30 classes that have fewer than 5 images",
    )
    assert findings(Categories.of(["a"] * 5 + ["b"] * 5 + [None])) == [
        ("info", 1, "without a label: of use for pre-training alone")
    ]


def test_reasons_that_differ_in_numbers_and_quotes_alone_are_one():
    problems = [
        Problem("a.csv", 3, "latitude 95.5 is outside [-90, 90] degrees"),
        Problem("b.jpg", None, "is empty (0 bytes)"),
        Problem("a.csv", 9, "latitude -1.2e+02 is outside [-90, 90] degrees"),
        Problem("a.csv", 1, "longitude 'north' is no number"),
        Problem("a.csv", 2, 'longitude "x" is no number'),
        Problem("a.csv", 4, "latitude 3,000.25 is outside [-90, 90] degrees"),
    ]
    assert reasons_of(problems) == (
        Reason(3, "latitude 95.5 is outside [-90, 90] degrees", "a.csv"),
        Reason(2, "longitude 'north' is no number", "a.csv"),
        Reason(1, "is empty (0 bytes)", "b.jpg"),
    )
    assert reasons_of([]) == ()


def test_the_worst_comes_first_and_order_is_kept():
    order = (Severity.INFO, Severity.ERROR, Severity.WARNING, Severity.ERROR)
    found = [Finding(severity, Topic.ROWS, row, "") for row, severity in enumerate(order)]
    assert [finding.rows for finding in worst_first(found)] == [1, 3, 2, 0]
