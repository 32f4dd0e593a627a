# Images in transformers, by the script that is exported with the classifier.
# Output: the file, the class name and the probability of every image.
graphadapter export my-classifier folder --format transformers
python folder/classify.py photo.jpg
