"""Train the vendor's model, and make the hospital's patients.

Both come from the breast-cancer set that scikit-learn brings: 569 patients, by what is
seen of cells under a microscope. Every other patient is the vendor's, to train on, and
all others are the hospital's, whom the vendor never sees. Nothing is drawn: the same
packages give the same model.
"""

import csv

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# What a cheap microscope sees.
FEATURES = ["mean texture", "mean smoothness", "mean symmetry", "mean compactness"]

cancer = load_breast_cancer()
columns = [list(cancer.feature_names).index(name) for name in FEATURES]
malignant = 1 - cancer.target  # the set has 1 for benign

pipeline = make_pipeline(StandardScaler(), LogisticRegression())
pipeline.fit(cancer.data[::2][:, columns], malignant[::2])
joblib.dump({"features": FEATURES, "pipeline": pipeline}, "/out/model.joblib")

with open("/out/patients.csv", "w", newline="") as f:
    w = csv.writer(f, lineterminator="\n")
    w.writerow([*cancer.feature_names, "diagnosis"])
    for values, ill in zip(cancer.data[1::2], malignant[1::2]):
        w.writerow([*(repr(float(v)) for v in values), ill])
