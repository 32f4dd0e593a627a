"""Why an image is classified as it is, and what the classifier makes of a class: in words, and as
numbers that add up.

Command:  python examples/explain.py
Time:     half a minute
Output:   'bird' before 'office supply'
          +4.1300  name
          -1.6095  names in the graphs
          -0.9022  training
          +0.0265  examples
          +1.6448  total: logarithm of the ratio of the probabilities
          …
"""

from pyg_graphadapter import FewShotClassifier
from pyg_graphadapter.data import load_images

classifier = FewShotClassifier.fit("builtin", model="builtin", shots=4)

# One image, in words, and what its probability adds up from:
image = load_images("builtin")["test"][0]["image"]
[reason] = classifier.reasons([image])
print(reason.table())
print(reason)

# A class: which neighbours changed it, and by how much
explanation = classifier.explain(class_name=classifier.class_names[0])
print(explanation)
print(explanation.table())
