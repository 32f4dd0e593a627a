"""GraphAdapter in a scikit-learn pipeline, with its settings searched by cross-validation.

Command:  python examples/sklearn_pipeline.py
Time:     5 seconds
Output:   best settings {'graphadapterclassifier__alpha': 0.7}
          test accuracy 0.95
"""

import sklearn
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from pyg_graphadapter import GraphAdapterClassifier
from pyg_graphadapter.testing import fake_features

data = fake_features(num_classes=10, channels=64, shots=8, text_noise=2.0)
X, y = data.train.mean_views().numpy(), data.train.y.numpy()
X_test, y_test = data.test.mean_views().numpy(), data.test.y.numpy()

# Text features do not belong to samples, so they are routed to the classifier as metadata.
sklearn.set_config(enable_metadata_routing=True)
classifier = GraphAdapterClassifier(random_state=0).set_fit_request(text_features=True)
search = GridSearchCV(
    make_pipeline(Normalizer(), classifier),
    {"graphadapterclassifier__alpha": [0.7, 0.8, 0.9]},
    cv=2,
)
search.fit(X, y, text_features=data.text.numpy())
print("best settings", search.best_params_)
print(f"test accuracy {search.score(X_test, y_test):.2f}")
