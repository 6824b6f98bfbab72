"""Validate a model on patients that nobody but this program sees.

/code/model.joblib  the vendor's model, which nobody but this program sees either
/in/patients.csv    one line for each patient; the column diagnosis is 1 if malignant

Writes /out/report.json, as report.schema.json says. The enclave holds it to that; what
no schema can say is done here: no count below FEW can be computed from the others.
"""

import csv
import json

import joblib
import numpy
from sklearn.metrics import brier_score_loss, roc_auc_score

FEW = 5  # patients; a smaller group is not reported
GROUPS = 5  # of the calibration, at most


def read(path, features):
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    x = numpy.array([[float(row[name]) for name in features] for row in rows])
    return x, numpy.array([int(row["diagnosis"]) for row in rows])


def confusion(ill, positive):
    cells = {
        "true_positive": int(sum(positive & ill)),
        "false_positive": int(sum(positive & ~ill)),
        "false_negative": int(sum(~positive & ill)),
        "true_negative": int(sum(~positive & ~ill)),
    }
    small = [name for name, n in cells.items() if n < FEW]
    if len(small) == 1:
        # Who knows how many patients there are could subtract: a second one goes too.
        rest = [name for name in cells if name not in small]
        small.append(min(rest, key=lambda name: (cells[name], name)))
    return {name: None if name in small else n for name, n in cells.items()}


def calibration(ill, risk):
    """Groups of rising risk with at least FEW of both kinds in each."""
    order = numpy.argsort(risk, kind="stable")
    least, groups, group = len(order) / GROUPS, [], []
    for i in order:
        group.append(i)
        n = int(sum(ill[group]))
        if len(group) >= least and min(n, len(group) - n) >= FEW:
            groups.append(group)
            group = []
    if group and groups:
        groups[-1] = groups[-1] + group  # what is left is too few of one kind
    return [
        {
            "predicted": round(float(risk[g].mean()), 2),
            "observed": round(float(ill[g].mean()), 2),
            "patients": 10 * round(len(g) / 10),
        }
        for g in groups
    ]


def main():
    model = joblib.load("/code/model.joblib")
    x, diagnosis = read("/in/patients.csv", model["features"])
    risk = model["pipeline"].predict_proba(x)[:, 1]
    ill = diagnosis == 1
    report = {
        "auc": round(float(roc_auc_score(ill, risk)), 3),
        "brier": round(float(brier_score_loss(ill, risk)), 3),
        "confusion": confusion(ill, risk >= 0.5),
        "calibration": calibration(ill, risk),
    }
    with open("/out/report.json", "w") as f:
        json.dump(report, f)


main()
