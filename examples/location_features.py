"""Location features in scikit-learn: a climate map from 1,000 places, with and without them."""

import sys

from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from geocsp.data.named.bluemarble import bluemarble
from geocsp.sklearn import LocationEmbedder, RandomFolds, SpatialBlocks

model = sys.argv[1] if len(sys.argv) > 1 else None  # such as runs/pretrain; None: random waves
data = bluemarble(points=1000)
climate = data.tasks["climate"]
lonlat, labels = data.lonlat[climate.labels >= 0], climate.labels[climate.labels >= 0]

classifiers = {
    "ridge": make_pipeline(StandardScaler(), RidgeClassifier(alpha=100.0)),
    "random forest": RandomForestClassifier(n_estimators=50, random_state=0),
}
folds = {"near places": RandomFolds(folds=3), "blocks of 10 degrees": SpatialBlocks(10.0, folds=3)}
print(f"accuracy for {len(climate.class_names)} climates at {len(labels)} places")
for how, splitter in folds.items():
    for name, classifier in classifiers.items():
        features = make_pipeline(LocationEmbedder(model), classifier)
        plain = cross_val_score(classifier, lonlat, labels, cv=splitter).mean()
        embedded = cross_val_score(features, lonlat, labels, cv=splitter).mean()
        print(f"{how:20}  {name:13}  lon, lat {plain:.1%}   embedding {embedded:.1%}")
