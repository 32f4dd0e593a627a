"""What the logits of a method add up from, by where it comes from: names, examples, training."""

NAME = "name"  # the text feature of the class itself, as it is
NAMES = "names in the graphs"  # the text features of all classes, through what was trained
EXAMPLES = "examples"  # the features of the shots
TRAINING = "training"  # what training or fitting on the shots changed
OTHERS = "other images"  # those that a transductive method classifies together
OTHERS_AND_EXAMPLES = "other images and examples"
WHOLE = "whole"  # what cannot be told apart
