"""Which neighbouring classes moved a class, through texts and through images, and by how much.

Command:  python examples/explain.py
Time:     half a minute
Output:   class 'bird'
          +0.0706  text   self-loop 'bird'
          +0.0628  text   bias 'bird'
          +0.0420  image  self-loop 'bird'
          +0.0353  text   own text 'bird'
          +0.0269  image  bias 'bird'
          +0.0011  text   neighbour 'insect'
          …
"""

from pyg_graphadapter import FewShotClassifier
from pyg_graphadapter.data import load_images

classifier = FewShotClassifier.fit("builtin", model="builtin", shots=4)

# The class feature: what each neighbour added to it
print(classifier.explain(class_name=classifier.class_names[0]))

# One image: the terms that add up to its logit
image = load_images("builtin")["test"][0]["image"]
print(classifier.explain(image))
